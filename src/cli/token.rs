//! `earmark token`: a token for a development server.

use std::io;

use crate::auth::dev_key::{DevClaims, DevKey, DevKeyError};
use crate::cli::{Failure, print};
use crate::config::MintArgs;
use crate::limits::TOKEN_MEMBERSHIPS_MAX;

pub(super) fn run(args: &MintArgs) -> Result<(), Failure> {
    for (flag, given) in [
        ("--enterprise", args.enterprise.len()),
        ("--company", args.company.len()),
    ] {
        if given > TOKEN_MEMBERSHIPS_MAX {
            return Err(Failure::setting(format!(
                "{flag}: a token holds at most {TOKEN_MEMBERSHIPS_MAX}"
            )));
        }
    }
    let data_dir = &args.data.data_dir;
    let key = DevKey::open(data_dir).map_err(|error| match error {
        DevKeyError::File { path, source } if source.kind() == io::ErrorKind::NotFound => {
            Failure::new(format!(
                "there is no {}: start `earmark dev` once, or name its folder with --data-dir",
                path.display()
            ))
        }
        other => Failure::new(other),
    })?;
    let claims = DevClaims {
        sub: args.subject.clone(),
        scope: args.scope.clone(),
        enterprises: args.enterprise.clone(),
        firm_id: args.firm_id.clone(),
        companies: args.company.clone(),
        tenant: args.tenant,
    };
    let token = key.mint(&claims, args.ttl).map_err(Failure::new)?;
    print(&format!("{token}\n"));
    Ok(())
}
