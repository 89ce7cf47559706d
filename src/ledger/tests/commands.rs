//! From what is meant to what is asked.

use uuid::Uuid;

use crate::ledger::account::OwnerKind;
use crate::ledger::adjustment::request::AdjustCustody;
use crate::ledger::oes::model::{Allocation, AllocationTerms, Direction, Status};
use crate::ledger::oes::request::{CloseAllocation, CreateAllocation, PartnerSide, Verdict};
use crate::ledger::tests::Bench;
use crate::ledger::tests::command::{Action, Command};
use crate::ledger::tests::network::{connection_id, judge_id, owner_id};
use crate::ledger::tests::reference::{GREATEST, amount};
use crate::ledger::tests::steps::{By, Expire, Kind, Op, Size, Target, Through, What};
use crate::limits::EXPIRE_AHEAD_MAX;
use crate::types::content::Content;
use crate::types::ids::{AccountId, AllocationId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

impl Bench {
    pub(super) fn command(&self, op: &Op) -> Command {
        let owner = owner_id(op.owner);
        let action = match &op.what {
            What::Create { .. } => Action::Create(self.create(owner, op)),
            What::Submit { items } => {
                let item = |what: &What| Op {
                    what: what.clone(),
                    ..op.clone()
                };
                let creates = items.iter().map(|what| self.create(owner, &item(what)));
                Action::Submit(creates.collect())
            }
            What::Close { .. } => Action::Close(self.close(owner, op)),
            What::Adjust { .. } => Action::Adjust(self.adjust(owner, op)),
            What::Repeat { back } => self.repeat(owner, *back, op),
            What::Expire => Action::Expire(OwnerKind::Enterprise),
        };
        Command {
            owner,
            validate_only: op.validate_only,
            entropy: op.entropy.to_be_bytes(),
            action,
        }
    }

    fn create(&self, owner: OwnerId, op: &Op) -> CreateAllocation {
        let What::Create {
            direction,
            through,
            unit,
            quantity,
            key,
            notes,
            expire,
        } = &op.what
        else {
            unreachable!("asked for a create");
        };
        let unit = unit_of(*unit);
        let connection = match through {
            Through::Own(number) if *direction == Direction::Deallocation && number % 4 > 1 => {
                self.richest_connection(owner, &unit)
            }
            _ => self.connection(owner, *through, None),
        };
        let source = match direction {
            Direction::Allocation => AccountId::OWN,
            Direction::Deallocation => connection.into(),
        };
        let quantity = match quantity {
            Size::Exactly(quantity) | Size::Room(quantity) => *quantity,
            Size::All(more) => self.free(owner, source, &unit) + more,
        };
        let quantity = quantity.clamp(1, GREATEST);
        let notes = notes.then(|| "noted".to_owned());
        let expire_time = expire.map(|expire| match expire {
            Expire::In(micros) => Time::from_micros(self.now_micros + micros).expect("in range"),
            Expire::Late(micros) => {
                let latest = self.now().plus(EXPIRE_AHEAD_MAX).micros();
                Time::from_micros(latest + micros).expect("in range")
            }
        });
        let content = Content::new()
            .field(1, connection.0)
            .field(2, unit.as_str())
            .field(3, quantity.to_be_bytes())
            .optional(4, notes.as_ref())
            .optional(5, expire_time.map(|time| time.micros().to_be_bytes()));
        let key = format!("key {key}");
        let quantity = amount(quantity);
        let terms = AllocationTerms {
            notes,
            expire_time,
            initiated_by: subject(op),
            ..AllocationTerms::minimal(*direction, connection, unit, quantity, key)
        };
        CreateAllocation {
            terms,
            content: content.hash(),
        }
    }

    fn close(&self, owner: OwnerId, op: &Op) -> CloseAllocation {
        let What::Close {
            target,
            verdict,
            by,
            through,
            external_id,
            reason,
        } = &op.what
        else {
            unreachable!("asked for a close");
        };
        let record = self.record(owner, *target);
        let connection = self.connection(owner, *through, record);
        let partner = || {
            let rightful = self.network.connections.get(&connection);
            let rightful = rightful.map(|(_, connection)| connection.partner_enterprise);
            let enterprise: EnterpriseId = match by {
                By::Rightful => rightful.unwrap_or(judge_id(3)),
                By::Any(number) => judge_id(*number),
            };
            PartnerSide {
                enterprise,
                connection,
                external_id: external_id.map(|id| format!("partner's {id}")),
            }
        };
        let reason = reason.map(|reason| format!("reason {reason}"));
        let verdict = match verdict {
            Kind::Cancel => Verdict::Cancel { reason },
            Kind::Clear => Verdict::Clear(partner()),
            Kind::Release => Verdict::Release {
                partner: partner(),
                reason: reason.unwrap_or("no reason".into()),
            },
        };
        let unknown = AllocationId(Uuid::from_u128(0xaa));
        CloseAllocation {
            allocation: record.map_or(unknown, |record| record.record.id),
            verdict,
        }
    }

    fn adjust(&self, owner: OwnerId, op: &Op) -> AdjustCustody {
        let What::Adjust {
            unit,
            quantity,
            key,
        } = &op.what
        else {
            unreachable!("asked for an adjustment");
        };
        let unit = unit_of(*unit);
        let quantity = match quantity {
            Size::Exactly(quantity) => *quantity,
            Size::All(more) => -(self.free(owner, AccountId::OWN, &unit) + more),
            Size::Room(more) => GREATEST + self.free(owner, AccountId::WORLD, &unit) + more,
        };
        let quantity = match quantity.clamp(-GREATEST, GREATEST) {
            0 => 1,
            quantity => quantity,
        };
        let content = Content::new()
            .field(1, unit.as_str())
            .field(2, quantity.to_be_bytes());
        AdjustCustody {
            unit,
            quantity: amount(quantity),
            external_id: format!("key {key}"),
            reason: "it moved".into(),
            initiated_by: subject(op),
            content: content.hash(),
        }
    }

    /// The same content from another caller.
    fn repeat(&self, owner: OwnerId, back: usize, op: &Op) -> Action {
        let asked = self.asked.iter().rev();
        let mut action = asked
            .filter(|command| command.owner == owner)
            .nth(back)
            .map_or(Action::Expire(OwnerKind::Enterprise), |command| {
                command.action.clone()
            });
        match &mut action {
            Action::Create(create) => create.terms.initiated_by = subject(op),
            Action::Submit(creates) => {
                for create in creates {
                    create.terms.initiated_by = subject(op);
                }
            }
            Action::Adjust(adjust) => adjust.initiated_by = subject(op),
            Action::Close(_) | Action::Bucket(_) | Action::Expire(_) => {}
        }
        action
    }

    fn free(&self, owner: OwnerId, account: AccountId, unit: &Unit) -> i128 {
        let ledger = self.reference.ledgers.get(&owner);
        ledger.map_or(0, |ledger| ledger.line(account, unit).free)
    }

    fn richest_connection(&self, owner: OwnerId, unit: &Unit) -> ConnectionId {
        let own = self.network.connections_of(owner).into_iter();
        let richest = own.max_by_key(|id| self.free(owner, AccountId::from(*id), unit));
        richest.unwrap_or(connection_id(0))
    }

    fn record(&self, owner: OwnerId, target: Target) -> Option<&Allocation> {
        let ledgers = self.reference.ledgers.iter();
        let records = ledgers.flat_map(|(id, ledger)| {
            let records = ledger.records.iter();
            records.map(move |record| (*id == owner, &record.shown))
        });
        let (back, found): (_, Vec<_>) = match target {
            Target::Open(back) => {
                let open = |(own, found): &(bool, &Allocation)| {
                    *own && found.record.status == Status::Reserved
                };
                (back, records.filter(open).collect())
            }
            Target::Own(back) => (back, records.filter(|(own, _)| *own).collect()),
            Target::Any(back) => (back, records.collect()),
            Target::Unknown => return None,
        };
        let (_, record) = found.iter().rev().nth(back % found.len().max(1))?;
        Some(record)
    }

    fn connection(
        &self,
        owner: OwnerId,
        through: Through,
        record: Option<&Allocation>,
    ) -> ConnectionId {
        match (through, record) {
            (Through::Any(number), _) => connection_id(number),
            (Through::Own(_), Some(record)) => record.record.terms.connection,
            (Through::Own(number), None) => {
                let own = self.network.connections_of(owner);
                let found = own.get(number % own.len().max(1));
                found.copied().unwrap_or(connection_id(number))
            }
        }
    }
}

fn unit_of(number: usize) -> Unit {
    let units = ["EUR", "BTC"];
    Unit::parse(units[number]).expect("a unit")
}

fn subject(op: &Op) -> String {
    format!("subject {}", op.entropy % 256)
}
