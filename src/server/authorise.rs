//! Which RPC a call is, who calls, and whether the token's scopes serve it.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::auth::caller::Caller;
use crate::auth::scope::{self, Rpc};
use crate::auth::token::Verifier;
use crate::error::{Error, Result};

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To an RPC of ours, which needs a token.
    Rpc(&'static Rpc),
    /// To health or reflection, which need none, have no deadline of ours, and whose statuses stay as they are.
    Open,
    /// Nowhere.
    Unknown,
}

impl Route {
    /// Looks a path up.
    pub fn of(path: &str) -> Self {
        const OPEN: [&str; 3] = [
            "/grpc.health.v1.Health/",
            "/grpc.reflection.v1.ServerReflection/",
            "/grpc.reflection.v1alpha.ServerReflection/",
        ];
        match scope::rpc(path) {
            Some(rpc) => Self::Rpc(rpc),
            None if OPEN.iter().any(|prefix| path.starts_with(prefix)) => Self::Open,
            None => Self::Unknown,
        }
    }

    /// The RPC's row, if it is one of ours.
    pub fn rpc(self) -> Option<&'static Rpc> {
        match self {
            Self::Rpc(rpc) => Some(rpc),
            Self::Open | Self::Unknown => None,
        }
    }
}

/// The bearer of a call's token.
pub async fn authenticate(verifier: &Verifier, headers: &HeaderMap) -> Result<Arc<Caller>> {
    verifier.verify(bearer(headers)?).await
}

/// Refuses a caller whose token has none of the RPC's scopes.
pub fn require_scope(caller: &Caller, rpc: &Rpc) -> Result<()> {
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
        // Which of them counts would be anybody's guess, and a proxy may guess otherwise.
        return Err(Error::TokenInvalid("there is more than one".into()));
    }
    let Ok(value) = value.to_str() else {
        return Err(Error::TokenInvalid("it is not ASCII".into()));
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
    fn paths_lead_where_they_say() {
        let balance = "/earmark.balance.v1.BalanceService/AdjustBalance";
        assert_eq!(Route::of(balance).rpc().map(|rpc| rpc.path), Some(balance));
        assert_eq!(Route::of("/grpc.health.v1.Health/Check"), Route::Open);
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
