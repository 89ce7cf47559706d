//! Which metrics a call is counted in: those of its method, and of the reason for its error.

use std::sync::LazyLock;

use crate::auth::scope::{RPCS, Rpc};
use crate::metrics::calls::{self, MethodDurations};
use crate::rpc::status;
use crate::server::authorise::{PublicCall, Route};

/// The durations of every method that this server has. Methods that it has not are one, since clients choose their names.
struct AllDurations {
    /// In the order of the scope table.
    rpcs: Vec<MethodDurations>,
    check: MethodDurations,
    list: MethodDurations,
    watch: MethodDurations,
    reflection: MethodDurations,
    unknown: MethodDurations,
}

static DURATIONS: LazyLock<AllDurations> = LazyLock::new(|| AllDurations {
    rpcs: RPCS
        .iter()
        .map(|rpc| MethodDurations::of(rpc.path.trim_start_matches('/')))
        .collect(),
    check: MethodDurations::of("grpc.health.v1.Health/Check"),
    list: MethodDurations::of("grpc.health.v1.Health/List"),
    watch: MethodDurations::of("grpc.health.v1.Health/Watch"),
    reflection: MethodDurations::of("grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    unknown: MethodDurations::of("_OTHER"),
});

/// The durations of the calls of a method.
pub(super) fn durations(path: &str, route: Route) -> &'static MethodDurations {
    let all = &*DURATIONS;
    match route {
        Route::Rpc(rpc) => all.rpcs.get(place(rpc)).unwrap_or(&all.unknown),
        Route::Public(PublicCall::Check) if path.ends_with("/List") => &all.list,
        Route::Public(PublicCall::Check) => &all.check,
        Route::Public(PublicCall::Watch) => &all.watch,
        Route::Public(PublicCall::Reflection) => &all.reflection,
        Route::Unknown => &all.unknown,
    }
}

/// The place of a row in the scope table, of which it is a part.
fn place(rpc: &'static Rpc) -> usize {
    RPCS.element_offset(rpc).unwrap_or(usize::MAX)
}

/// Counts a call that ended with this reason.
pub(super) fn count_error(reason: &str) {
    // A reason of the API only, so that no text from elsewhere becomes a label.
    if let Some(known) = status::reasons().iter().find(|known| **known == reason) {
        calls::add_errors(known, 1);
    }
}

/// Serves every reason from the start: of a series that begins with 1, Prometheus sees no increase.
pub(super) fn begin() {
    for reason in status::reasons() {
        calls::add_errors(reason, 0);
    }
}
