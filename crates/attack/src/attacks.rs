//! The attacks, one in each module.

mod announced;
mod answers;
mod cancelled;
mod connections;
mod continuation;
mod frozen;
mod idle;
mod items;
mod keys;
mod owner;
mod reflection;
mod refused;
mod reset;
mod search;
mod silent_bodies;
mod watch;

use anyhow::{Result, bail};

use crate::attack::Attack;

/// All attacks, in the order in which they are shown.
pub(crate) const ALL: [&dyn Attack; 16] = [
    &watch::WatchAttack,
    &announced::AnnouncedAttack,
    &silent_bodies::SilentBodiesAttack,
    &connections::ConnectionsAttack,
    &search::SearchAttack,
    &cancelled::CancelledAttack,
    &frozen::FrozenAttack,
    &reflection::ReflectionAttack,
    &keys::KeysAttack,
    &answers::AnswersAttack,
    &owner::OwnerAttack,
    &refused::RefusedAttack,
    &items::ItemsAttack,
    &idle::IdleAttack,
    &reset::ResetAttack,
    &continuation::ContinuationAttack,
];

/// The attack of a name.
pub(crate) fn find(name: &str) -> Result<&'static dyn Attack> {
    match ALL.into_iter().find(|attack| attack.name() == name) {
        Some(attack) => Ok(attack),
        None => {
            let names: Vec<_> = ALL.iter().map(|attack| attack.name()).collect();
            bail!(
                "there is no attack {name}: choose from {}",
                names.join(", ")
            )
        }
    }
}

/// The attacks of these names; without names all of them.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static dyn Attack>> {
    match names {
        [] => Ok(ALL.to_vec()),
        names => names.iter().map(|name| find(name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guarantees_describe_every_attack() {
        let page = include_str!("../../../docs/guarantees.md");
        let table = page.split("\n| attack | ").nth(1).expect("a table");
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let described: Vec<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        let names: Vec<_> = ALL.iter().map(|attack| attack.name()).collect();
        assert_eq!(described, names);
    }
}
