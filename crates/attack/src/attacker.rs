//! The process that carries one attack out.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::attack::AttackTarget;
use crate::attacks;
use crate::cli::AttackerArgs;

/// Attacks for as long as the arguments say.
pub(crate) async fn attack(args: &AttackerArgs) -> Result<bool> {
    let target: AttackTarget = serde_json::from_str(&args.target).context("--target")?;
    let attack = attacks::find(&args.name)?;
    match timeout(Duration::from_secs(args.seconds), attack.run(&target)).await {
        Ok(ended) => ended.with_context(|| format!("the attack {}", args.name))?,
        Err(_time_is_over) => {}
    }
    Ok(true)
}
