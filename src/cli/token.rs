//! `earmark token`: signs a token for a development server.

use std::io;

use crate::auth::dev_key::{DevClaims, DevKey, DevKeyError};
use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::MintArgs;
use crate::limits::TOKEN_MEMBERSHIPS_MAX;

pub(super) fn run(args: &MintArgs) -> Result<(), CliFailure> {
    for (option, values) in [
        ("--enterprise", args.enterprise.len()),
        ("--company", args.company.len()),
    ] {
        if values > TOKEN_MEMBERSHIPS_MAX {
            return Err(CliFailure::setting(format!(
                "{option}: there are {values} values, but a token may have at most {TOKEN_MEMBERSHIPS_MAX}"
            )));
        }
    }
    let data_dir = &args.data.data_dir;
    let key = DevKey::open(data_dir).map_err(|error| match error {
        DevKeyError::File { path, source } if source.kind() == io::ErrorKind::NotFound => {
            CliFailure::new(format!(
                "there is no key {}: start `earmark dev`, which creates it, or give the folder of your development \
                 server with --data-dir",
                path.display()
            ))
        }
        other => CliFailure::new(other),
    })?;
    let claims = DevClaims {
        sub: args.subject.clone(),
        scope: args.scope.clone(),
        enterprises: args.enterprise.clone(),
        firm_id: args.firm_id.clone(),
        companies: args.company.clone(),
        tenant: args.tenant,
    };
    let token = key.mint(&claims, args.ttl).map_err(CliFailure::new)?;
    print(&format!("{token}\n"));
    Ok(())
}
