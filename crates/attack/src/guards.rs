//! Which setting holds against which attack, and how it is switched off: `unguarded` shows for each attack that it
//! succeeds without them.

use std::time::Duration;

use earmark::app::AppSettings;
use earmark::server::ServerSettings;

/// As good as without a limit, and small enough for tokio's semaphores and timers.
const UNLIMITED: u32 = 1_000_000;
/// Longer than any attack.
const FOREVER: Duration = Duration::from_secs(24 * 3_600);

/// All settings of a server, in which guards are switched off.
#[derive(Debug, Default)]
pub(crate) struct GuardSettings {
    pub(crate) server: ServerSettings,
    pub(crate) app: AppSettings,
}

/// A setting that limits what one caller can use.
pub(crate) struct Guard {
    /// The name of the setting.
    pub(crate) name: &'static str,
    /// The attacks that it holds against.
    pub(crate) attacks: &'static [&'static str],
    /// Makes the setting as good as unlimited.
    pub(crate) switch_off: fn(&mut GuardSettings),
}

/// All guards. An attack that no guard names has none: it is expected to succeed as the server is.
pub(crate) const GUARDS: &[Guard] = &[
    Guard {
        name: "call_max",
        attacks: &["announced", "silent-bodies", "owner"],
        switch_off: |settings| settings.server.call_max = FOREVER,
    },
    Guard {
        name: "streams_max",
        attacks: &["watch"],
        switch_off: |settings| settings.server.streams_max = UNLIMITED,
    },
];

/// Attacks that no setting holds against, because a library does, and which one.
pub(crate) const HELD_BY_LIBRARIES: &[(&str, &str)] =
    &[("continuation", "h2 limits the frames and bytes of a head")];

/// Which library holds against an attack, and how.
pub(crate) fn library_against(attack: &str) -> Option<&'static str> {
    let found = HELD_BY_LIBRARIES.iter().find(|(name, _)| *name == attack);
    found.map(|(_, how)| *how)
}

/// The guards against an attack.
pub(crate) fn against(attack: &str) -> impl Iterator<Item = &'static Guard> {
    GUARDS
        .iter()
        .filter(move |guard| guard.attacks.contains(&attack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks;

    #[test]
    fn guards_name_attacks_that_exist() {
        for guard in GUARDS {
            for attack in guard.attacks {
                assert!(attacks::find(attack).is_ok(), "{}: {attack}", guard.name);
            }
        }
        for (attack, _) in HELD_BY_LIBRARIES {
            assert!(attacks::find(attack).is_ok(), "{attack}");
            assert_eq!(against(attack).count(), 0, "{attack} has a setting");
        }
    }
}
