//! Tokens that name unknown keys.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use earmark::proto::allocation::v1::GetAllocationRequest;
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// As many calls as the server takes, each with a token of a key that it does not know, while the server of the keys
/// does not answer: a server that asks it for each keeps their places meanwhile.
pub(crate) struct KeysAttack;

impl Attack for KeysAttack {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn has_token(&self) -> bool {
        false
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 4,
            callers: 1_024,
            window: WINDOW_SMALL,
            pause: Duration::from_secs(1),
        };
        let number = Cell::new(0_u64);
        Box::pin(flood.run(target, async move |mut sender, _caller| {
            let path = "/earmark.allocation.v1.AllocationService/GetAllocation";
            number.set(number.get() + 1);
            let head = wire::head(target, path, Some(&token(number.get())))?;
            let request = wire::frame(&GetAllocationRequest::default());
            wire::call(&mut sender, head, request).await?;
            Ok(())
        }))
    }
}

/// A token of a key of its own; its signature is none.
fn token(number: u64) -> String {
    let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"unknown-{number}"}}"#);
    let [header, claims, signature] =
        [header.as_bytes(), b"{}", &[0; 64]].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.{signature}")
}
