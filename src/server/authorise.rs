//! Finds a call's RPC by its path, authenticates its caller, and checks that the token has one of the RPC's scopes.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::auth::caller::Caller;
use crate::auth::scope::{self, Rpc};
use crate::auth::token::TokenVerifier;
use crate::error::{Error, Result};

/// What a request's path refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// An RPC of the scope table, which needs a token.
    Rpc(&'static Rpc),
    /// Health or reflection. They need no token, and their statuses are passed on unchanged.
    Public(PublicCall),
    /// No service or method of this server.
    Unknown,
}

/// A call that needs no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublicCall {
    /// Health's unary methods, which answer at once.
    Check,
    /// Health's `Watch`, which goes on until its client or the server ends it.
    Watch,
    /// Reflection of either version, a stream in both directions.
    Reflection,
}

impl Route {
    /// The route of a path, which must match to the letter.
    pub(super) fn of(path: &str) -> Self {
        const REFLECTION: [&str; 2] = [
            "/grpc.reflection.v1.ServerReflection/",
            "/grpc.reflection.v1alpha.ServerReflection/",
        ];
        if let Some(rpc) = scope::rpc(path) {
            return Self::Rpc(rpc);
        }
        if let Some(method) = path.strip_prefix("/grpc.health.v1.Health/") {
            return Self::Public(match method {
                "Watch" => PublicCall::Watch,
                _ => PublicCall::Check,
            });
        }
        if REFLECTION.iter().any(|prefix| path.starts_with(prefix)) {
            return Self::Public(PublicCall::Reflection);
        }
        Self::Unknown
    }

    /// The method's name in traces: `package.Service/Method`, or `_OTHER` if there is none. `None` for health and reflection,
    /// which have no spans: probes call them every few seconds.
    pub(super) fn traced_method(self) -> Option<&'static str> {
        match self {
            Self::Rpc(rpc) => Some(rpc.path.trim_start_matches('/')),
            Self::Public(_) => None,
            Self::Unknown => Some("_OTHER"),
        }
    }

    /// The row of the scope table; `None` for public and unknown routes.
    pub(super) fn rpc(self) -> Option<&'static Rpc> {
        match self {
            Self::Rpc(rpc) => Some(rpc),
            Self::Public(_) | Self::Unknown => None,
        }
    }
}

/// Verifies the bearer token of a call's metadata, and returns its bearer.
///
/// # Errors
/// `TokenMissing`, `TokenInvalid` or `TokenExpired`.
pub(super) async fn authenticate(
    verifier: &TokenVerifier,
    headers: &HeaderMap,
) -> Result<Arc<Caller>> {
    verifier.verify(bearer(headers)?).await
}

/// Checks that the caller's token has one of the RPC's scopes; `ScopeMissing` names the first of them otherwise.
pub(super) fn require_scope(caller: &Caller, rpc: &Rpc) -> Result<()> {
    if rpc.scopes.iter().any(|scope| caller.has(*scope)) {
        return Ok(());
    }
    Err(Error::ScopeMissing(
        rpc.scopes.first().map_or("", |scope| scope.name()),
    ))
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let value = values.next().ok_or(Error::TokenMissing)?;
    if values.next().is_some() {
        // A proxy in front may have checked another one of them than this server would.
        return Err(Error::TokenInvalid(
            "there is more than one `authorization` header".into(),
        ));
    }
    let Ok(value) = value.to_str() else {
        return Err(Error::TokenInvalid(
            "the `authorization` header is not ASCII".into(),
        ));
    };
    let (scheme, token) = value.split_once(' ').ok_or(Error::TokenMissing)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(Error::TokenMissing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_is_taken() {
        let bearer_of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().expect("a header"));
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(bearer_of(&["Bearer a.b.c"]), Ok("a.b.c".into()));
        assert_eq!(bearer_of(&["bearer  a.b.c "]), Ok("a.b.c".into()));
        for missing in ["", "Bearer", "Bearer ", "Basic YTpi", "a.b.c"] {
            assert_eq!(bearer_of(&[missing]), Err(Error::TokenMissing), "{missing}");
        }
        assert_eq!(bearer_of(&[]), Err(Error::TokenMissing));
        let two = bearer_of(&["Bearer a.b.c", "Bearer d.e.f"]);
        assert!(matches!(two, Err(Error::TokenInvalid(_))));
    }

    #[test]
    fn a_path_must_match_its_route_to_the_letter() {
        let balance = "/earmark.balance.v1.BalanceService/AdjustBalance";
        assert_eq!(Route::of(balance).rpc().map(|rpc| rpc.path), Some(balance));
        for (path, call) in [
            ("/grpc.health.v1.Health/Check", PublicCall::Check),
            ("/grpc.health.v1.Health/Watch", PublicCall::Watch),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                PublicCall::Reflection,
            ),
        ] {
            assert_eq!(Route::of(path), Route::Public(call));
        }
        for nowhere in [
            "/",
            "/earmark.balance.v1.BalanceService",
            "/earmark.balance.v1.BalanceService/",
            "/earmark.balance.v1.BalanceService/AdjustBalance/",
            "//earmark.balance.v1.BalanceService/AdjustBalance",
            "/grpc.health.v1.Healthy/Check",
            "/grpc.channelz.v1.Channelz/GetServers",
        ] {
            assert_eq!(Route::of(nowhere), Route::Unknown, "{nowhere}");
        }
    }
}
