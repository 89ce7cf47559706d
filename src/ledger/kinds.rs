//! The registry of kinds: one line for each. It makes the structs that hold a part for every kind, so that the engine
//! treats all kinds alike and names none.

use tokio::try_join;
use tokio_postgres::{Client, Row};

use crate::ledger::account::OwnerKind;
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::books::Books;
use crate::ledger::bucket::model::Buckets;
use crate::ledger::kind::{ChangeSet, DueQuery, Kind, KindState, RecordProof};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::verification::Verification;
use crate::types::ids::OwnerId;

/// A kind that is in the registry: it has a part in what is made for every kind.
pub trait RegisteredKind: Kind {
    /// The kind's part of the read sets.
    fn read_set(all: &mut ReadSets) -> &mut Self::ReadSet;

    /// The kind's part of the states.
    fn state(all: &mut States) -> &mut KindState<Self>;
}

macro_rules! registry {
    ($($name:ident: $kind:ty,)+) => {
        /// The number of kinds.
        pub const KINDS: usize = [$(stringify!($name)),+].len();

        /// For each kind, in the order of the registry, the kind of its owners and [`Kind::DUE_OWNERS`].
        pub const DUE_OWNERS: [(OwnerKind, Option<&str>); KINDS] =
            [$((<$kind as Kind>::OWNER, <$kind as Kind>::DUE_OWNERS)),+];

        /// What verification has to check, for each kind.
        pub const VERIFICATIONS: [Verification; KINDS] = [$(<$kind as Kind>::VERIFICATION),+];

        /// The prepared statements of all kinds.
        pub struct Statements {
            $($name: <$kind as Kind>::Statements,)+
        }

        /// The keys that a batch's commands name, of all kinds.
        #[derive(Default)]
        pub struct ReadSets {
            $($name: <$kind as Kind>::ReadSet,)+
        }

        /// What was read by these keys.
        pub struct Rows {
            $($name: <$kind as Kind>::Rows,)+
        }

        /// What is due, of all kinds.
        pub struct DueRows {
            $($name: Vec<Row>,)+
        }

        /// The records that a batch works on, of all kinds.
        #[derive(Debug, Default)]
        pub struct States {
            $(pub(in crate::ledger) $name: KindState<$kind>,)+
        }

        /// What a batch has to write, of all kinds.
        pub struct Changes<'a> {
            $(pub(in crate::ledger) $name: <$kind as Kind>::Changes<'a>,)+
        }

        /// For each kind, a change that proves that the transaction was committed, if there is one.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Proofs {
            $($name: Option<RecordProof>,)+
        }

        $(
            impl RegisteredKind for $kind {
                fn read_set(all: &mut ReadSets) -> &mut Self::ReadSet {
                    &mut all.$name
                }

                fn state(all: &mut States) -> &mut KindState<Self> {
                    &mut all.$name
                }
            }
        )+

        impl ReadSets {
            /// Adds what every kind reads of an owner of this kind.
            pub fn add_owner(&mut self, kind: OwnerKind, owner: OwnerId) {
                $(
                    if <$kind as Kind>::OWNER == kind {
                        <$kind as Kind>::add_owner_reads(owner, &mut self.$name);
                    }
                )+
            }
        }

        impl Statements {
            /// Prepares the statements of every kind.
            ///
            /// # Errors
            /// The first that fails.
            pub async fn prepare(client: &Client) -> PgResult<Self> {
                Ok(Self {
                    $($name: <$kind as Kind>::prepare(client).await?,)+
                })
            }

            /// Sends what reads these keys. All is sent when the future is first polled.
            ///
            /// # Errors
            /// The first that fails.
            pub async fn read(&self, client: &Client, read_sets: &ReadSets) -> PgResult<Rows> {
                let ($($name,)+) = try_join!(
                    biased;
                    $(<$kind as Kind>::read(&self.$name, client, &read_sets.$name),)+
                )?;
                Ok(Rows { $($name,)+ })
            }

            /// Sends what reads what is due of these owners, which are given for each kind in the order of the registry.
            ///
            /// # Errors
            /// The first that fails.
            pub async fn read_due(&self, client: &Client, due: &[DueQuery]) -> PgResult<DueRows> {
                let mut due = due.iter();
                $(let $name = due.next();)+
                let ($($name,)+) = try_join!(
                    biased;
                    $(read_due::<$kind>(&self.$name, client, $name),)+
                )?;
                Ok(DueRows { $($name,)+ })
            }

            /// Sends what writes these changes. All is sent when the future is first polled.
            ///
            /// # Errors
            /// The first that fails.
            pub async fn write(&self, client: &Client, changes: &Changes<'_>) -> Result<(), StoreError> {
                try_join!(
                    biased;
                    $(<$kind as Kind>::write(&self.$name, client, &changes.$name),)+
                )?;
                Ok(())
            }

            /// Whether the change that is the first of these proofs was committed.
            ///
            /// # Errors
            /// The error of the statement.
            pub async fn find_proof(&self, client: &Client, proofs: Proofs) -> PgResult<bool> {
                $(
                    if let Some(proof) = proofs.$name {
                        return <$kind as Kind>::find_proof(&self.$name, client, proof).await;
                    }
                )+
                Ok(false)
            }
        }

        impl States {
            /// Adds what was read.
            ///
            /// # Errors
            /// A row holds what this version does not write.
            pub fn load(&mut self, rows: &Rows, books: &mut Books) -> Result<(), StoreError> {
                $(<$kind as Kind>::load(&rows.$name, books, &mut self.$name)?;)+
                Ok(())
            }

            /// Adds what is due, of each owner at most its share.
            ///
            /// # Errors
            /// A row holds what this version does not write.
            pub fn load_due(
                &mut self,
                rows: &DueRows,
                share: usize,
                books: &mut Books,
            ) -> Result<(), StoreError> {
                $(<$kind as Kind>::load_due(&rows.$name, share, books, &mut self.$name)?;)+
                Ok(())
            }

            /// Releases what was loaded as due.
            pub fn release_due(&mut self, books: &mut Books) {
                $(<$kind as Kind>::release_due(books, &mut self.$name);)+
            }

            /// What the batch has changed.
            pub fn changes(&self) -> Changes<'_> {
                Changes {
                    $($name: <$kind as Kind>::changes(&self.$name),)+
                }
            }
        }

        impl Changes<'_> {
            /// Whether there is nothing to write.
            pub fn is_empty(&self) -> bool {
                $(self.$name.is_empty())&&+
            }

            /// What proves that the changes were committed.
            pub fn proofs(&self) -> Proofs {
                Proofs {
                    $($name: <$kind as Kind>::proof(&self.$name),)+
                }
            }
        }

        impl Proofs {
            /// Whether no change proves anything.
            pub fn is_empty(&self) -> bool {
                $(self.$name.is_none())&&+
            }
        }
    };
}

registry! {
    oes: OesRecords,
    adjustment: Adjustments,
    bucket: Buckets,
}

async fn read_due<K: Kind>(
    statements: &K::Statements,
    client: &Client,
    due: Option<&DueQuery>,
) -> PgResult<Vec<Row>> {
    match due {
        Some(due) if !due.owners.is_empty() => K::read_due(statements, client, due).await,
        _ => Ok(Vec::new()),
    }
}
