//! What a process measures of itself. The instruments are OpenTelemetry's; `telemetry` serves them as Prometheus text and
//! pushes them by OTLP, from the same numbers. The page docs/metrics.md lists them all.
//!
//! Everybody may use this module, so of the others it uses only `version`.
//!
//! - Counters and histograms are bound to their labels once, so that counting costs some atomic operations or a short lock
//!   and no search. What a component has at the moment, such as calls that wait, is read only when somebody collects it.
//! - No label has a value that clients or tenants choose. Each has a few values, which are known when the program is built.
//! - Without `--metrics-listen` and an OTLP endpoint there is no provider, and every instrument does nothing. The provider
//!   must be installed before the first instrument is used.

pub(crate) mod calls;
pub(crate) mod connections;
pub(crate) mod database;
pub(crate) mod export;
pub(crate) mod health;
mod instrument;
pub(crate) mod keys;
pub(crate) mod lanes;
pub(crate) mod overload;
pub(crate) mod partitions;
pub(crate) mod process;
pub(crate) mod reservations;
pub(crate) mod resource;
mod sample;
pub(crate) mod tls;
pub(crate) mod writer;
