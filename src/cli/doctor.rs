//! `earmark doctor`: looks at all that a server with the same settings would use, and says what to do. It changes nothing.
//!
//! What is found is read in `db/inspect`; the files here judge it. No check stops another one: one that fails is a finding
//! itself.

mod activity;
mod capacity;
mod certificates;
mod database;
mod finding;
mod keys;
mod looks;
mod output;
mod replication;
mod reservations;
mod schema;
mod settings;
mod tables;
mod words;

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::doctor::finding::{Diagnosis, FindingState};
use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::{DoctorArgs, DoctorFormat};
use crate::limits::DOCTOR_MAX;

pub(super) async fn run(args: DoctorArgs) -> Result<(), CliFailure> {
    let begun = Instant::now();
    let serve = &args.examined.serve;
    let (of_database, of_keys) = tokio::join!(
        database::all(serve, begun + DOCTOR_MAX),
        keys::all(&args.examined)
    );
    let mut findings = of_database;
    findings.push(capacity::open_files(
        &serve.server.settings(Duration::ZERO),
        &serve.connections.settings(serve.server.calls_max),
    ));
    findings.extend(of_keys);
    if let Some(files) = serve.tls.files() {
        let client_ca = files.client_ca.as_deref();
        findings.extend(certificates::listener(
            &files.certificate,
            &files.key,
            client_ca,
        ));
    }
    let diagnosis = Diagnosis::new(findings, begun.elapsed());
    print(&match args.format {
        DoctorFormat::Text => output::text(&diagnosis),
        DoctorFormat::Json => output::json(&diagnosis),
    });
    let [problems, warnings] =
        [FindingState::Problem, FindingState::Warning].map(|state| diagnosis.count(state));
    match (problems, warnings) {
        (0, 0) => Ok(()),
        (0, _) if !args.strict => Ok(()),
        (0, _) => Err(CliFailure::new(
            "there are warnings, as printed, and --strict makes them count",
        )),
        _ => Err(CliFailure::new(
            "there are problems, as printed; nothing was changed",
        )),
    }
}
