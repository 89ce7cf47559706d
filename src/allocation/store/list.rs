//! The lists.
//!
//! A client's list reads one owner. A partner's starts from its connections and takes, of each, no more than the page
//! needs, in order: by creation, the cost of a page does not depend on how much there is.
//!
//! The texts are few and bounded, since each is prepared once per connection and kept: a filter that an index serves
//! appears only when it is set; the others stand there always, and let everything pass while they are empty.
//!
//! A window of update times is read from the journal, which has the times in order: a record that was updated in it has an
//! entry of that time. No index is on a column that changes.
//!
//! The list that is asked for most, a client's by creation without a filter, has texts of its own, whose plans Postgres
//! makes once: planning the others takes about as long as reading their page.

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::rows::Row;
use crate::allocation::model::{AllocationSide, AllocationSortField, AllocationSortKey, List};
use crate::db::statement::{SqlTexts, SqlValue, Statement, any_condition, select_list};
use crate::ledger::oes::model::{Direction, Status};
use crate::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::types::ids::ordered_id;
use crate::types::time::Time;

/// The sizes of the pages that lists without a filter read, and one record more.
const PLAIN_LIMITS: [u32; 2] = [PAGE_SIZE_DEFAULT + 1, PAGE_SIZE_MAX + 1];

/// The records that a movement left as they are now. Of the entries of one movement only that of the account that the value
/// left, or was held in, finds its record. The order and LIMIT keep any plan to the record's key, and to the order of the journal.
const MOVED: &str = r#""entry" "moved" CROSS JOIN LATERAL (
    SELECT * FROM "allocation" a
    WHERE a."owner_id" = "moved"."owner_id" AND a."id" >= "moved"."cause_id" AND a."id" <= "moved"."cause_id"
      AND a."updated_at" = "moved"."time"
      AND "moved"."account_id" = CASE a."type"
          WHEN 'ALLOCATION' THEN '00000000-0000-0000-0000-000000000001' ELSE a."connection_id" END
    ORDER BY a."id" LIMIT 1
) "allocation""#;

/// An adjustment is no record of the list.
const IN_WINDOW: &str =
    r#" AND "moved"."time" BETWEEN :updated_from AND :updated_to AND "moved"."cause" <> 'ADJUST'"#;

/// What the text of a list depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AllocationListShape {
    side: AllocationSide,
    field: AllocationSortField,
    descending: bool,
    /// Whether it begins behind a cursor, in an order other than that of ids.
    is_after: bool,
    /// The one of [`PLAIN_LIMITS`] that is enough for the list, if it is a client's by creation, without a filter and
    /// without records to skip.
    plain: Option<u32>,
    /// Whether the only status asked for is RESERVED.
    only_reserved: bool,
    has_ids: bool,
    has_connections: bool,
    has_clients: bool,
    has_partners: bool,
    has_client_external_ids: bool,
    has_partner_external_ids: bool,
    has_update_window: bool,
}

impl AllocationListShape {
    fn of(list: &List, is_after: bool) -> Self {
        let is_plain = list.side == AllocationSide::Client
            && list.order.field == AllocationSortField::Id
            && list.page.skip() == 0
            && list.ids.is_empty()
            && list.directions.is_empty()
            && list.statuses.is_empty()
            && list.units.is_empty()
            && list.connections.is_empty()
            && list.clients.is_empty()
            && list.partners.is_empty()
            && list.client_external_ids.is_empty()
            && list.partner_external_ids.is_empty()
            && !list.has_update_window();
        Self {
            side: list.side,
            field: list.order.field,
            descending: list.order.descending,
            is_after,
            plain: is_plain.then_some(PLAIN_LIMITS).and_then(|limits| {
                limits
                    .into_iter()
                    .find(|most| i64::from(*most) >= list.page.fetch())
            }),
            only_reserved: list.statuses == [Status::Reserved],
            has_ids: !list.ids.is_empty(),
            has_connections: !list.connections.is_empty(),
            // A client's own list has no such filter.
            has_clients: list.side == AllocationSide::Partner && !list.clients.is_empty(),
            has_partners: !list.partners.is_empty(),
            has_client_external_ids: !list.client_external_ids.is_empty(),
            has_partner_external_ids: !list.partner_external_ids.is_empty(),
            has_update_window: list.has_update_window(),
        }
    }

    fn text(&self) -> String {
        let columns = select_list::<Row>();
        let from = match (self.side, self.plain) {
            (_, Some(most)) => self.of_client_plain(most),
            (AllocationSide::Client, _) if self.has_update_window => self.of_client_in_window(),
            (AllocationSide::Partner, _) if self.has_update_window => self.of_partner_in_window(),
            (AllocationSide::Client, _) => self.of_client(),
            (AllocationSide::Partner, _) => self.of_partner(),
        };
        format!("SELECT {columns} FROM {from}")
    }

    /// A plan for all parameters is as good here as one for these, and saves planning. Postgres takes it only where it
    /// estimates that it costs no more. The planner assumes that an unknown LIMIT returns 10 % of its input; of all that an
    /// enterprise has, that would be more than a page. A LIMIT below it of a usual page keeps the estimate under a page,
    /// wherever the page lies. All columns of the view would cost a projection of each record.
    fn of_client_plain(&self, most: u32) -> String {
        let (columns, order) = (select_list::<Row>(), self.order());
        format!(
            r#"(
                SELECT {columns} FROM "allocation"
                WHERE "allocation"."owner_id" = :enterprise AND "allocation"."id" BETWEEN :first_id AND :last_id
                {order} LIMIT {most}
            ) "allocation" {order} LIMIT :limit"#
        )
    }

    /// Where the records are: if only open ones are asked for, in a table that has nothing else.
    fn table(&self) -> &'static str {
        if self.only_reserved {
            r#""open_allocation""#
        } else {
            r#""allocation""#
        }
    }

    fn of_client(&self) -> String {
        format!(
            r#"{table} "allocation" WHERE "allocation"."owner_id" = :enterprise{sides}{filters}
            {order} LIMIT :limit OFFSET :offset"#,
            table = self.table(),
            sides = self.sides_of_allocation(),
            filters = self.filters_of(":enterprise"),
            order = self.order(),
        )
    }

    fn of_client_in_window(&self) -> String {
        format!(
            r#"{MOVED} WHERE "moved"."owner_id" = :enterprise{IN_WINDOW}{sides}{filters}
            {order} LIMIT :limit OFFSET :offset"#,
            sides = self.sides_of_allocation(),
            filters = self.filters(),
            order = self.order(),
        )
    }

    /// The owners are found first, then what moved of each: a movement does not say for which partner it was.
    fn of_partner_in_window(&self) -> String {
        let sides = self.sides_of_connection();
        format!(
            r#"(
                SELECT DISTINCT "connection"."client_enterprise_id" FROM "connection"
                WHERE "connection"."partner_enterprise_id" = :enterprise{sides}
            ) owner(id) CROSS JOIN LATERAL (
                SELECT "allocation".* FROM {MOVED}
                JOIN "connection" ON "connection"."id" = "allocation"."connection_id"
                    AND "connection"."partner_enterprise_id" = :enterprise{sides}
                WHERE "moved"."owner_id" = owner.id{IN_WINDOW}{filters}
                {order} LIMIT :limit_of_each
            ) "allocation"
            {order_of_all} LIMIT :limit OFFSET :offset"#,
            filters = self.filters(),
            order = self.order(),
            order_of_all = self.order_by(self.field.column()),
        )
    }

    fn sides_of_allocation(&self) -> String {
        let connections = any_condition(
            self.has_connections,
            r#""allocation"."connection_id""#,
            "connections",
        );
        let partners = any_condition(
            self.has_partners,
            r#""allocation"."partner_id""#,
            "partners",
        );
        connections + &partners
    }

    fn sides_of_connection(&self) -> String {
        let connections =
            any_condition(self.has_connections, r#""connection"."id""#, "connections");
        let clients = any_condition(self.has_clients, r#""connection"."client_id""#, "clients");
        let partners = any_condition(
            self.has_partners,
            r#""connection"."partner_id""#,
            "partners",
        );
        [connections, clients, partners].concat()
    }

    fn of_partner(&self) -> String {
        format!(
            r#""connection" CROSS JOIN LATERAL (
                SELECT {columns} FROM {table} "allocation"
                WHERE "allocation"."owner_id" = "connection"."client_enterprise_id"
                  AND "allocation"."connection_id" = "connection"."id"{filters}
                {order} LIMIT :limit_of_each
            ) "allocation"
            WHERE "connection"."partner_enterprise_id" = :enterprise{sides}
            {order} LIMIT :limit OFFSET :offset"#,
            columns = select_list::<Row>(),
            table = self.table(),
            sides = self.sides_of_connection(),
            filters = self.filters_of(r#""connection"."client_enterprise_id""#),
            order = self.order(),
        )
    }

    /// What the records of this owner must fit, whose ids are found by its idempotency keys.
    fn filters_of(&self, owner: &str) -> String {
        let keys = if self.has_client_external_ids {
            format!(
                r#" AND "allocation"."id" = ANY(ARRAY(
                    SELECT k."id" FROM "allocation_key" k WHERE k."owner_id" = {owner} AND k."key" = ANY(:client_keys)))"#
            )
        } else {
            String::new()
        };
        self.filters() + &keys
    }

    /// What the records themselves must fit.
    fn filters(&self) -> String {
        let ids = any_condition(self.has_ids, r#""allocation"."id""#, "ids");
        let client_external_ids = any_condition(
            self.has_client_external_ids,
            r#""allocation"."client_external_id""#,
            "client_external_ids",
        );
        let partner_external_ids = any_condition(
            self.has_partner_external_ids,
            r#""allocation"."partner_external_id""#,
            "partner_external_ids",
        );
        format!(
            r#" AND "allocation"."id" BETWEEN :first_id AND :last_id
              AND (:every_type OR "allocation"."type" = ANY(:types))
              AND (:every_status OR "allocation"."status" = ANY(:statuses))
              AND (:every_currency OR "allocation"."currency" = ANY(:currencies)){ids}
              {client_external_ids}{partner_external_ids}{after}"#,
            after = self.after(),
        )
    }

    /// Behind the cursor. An index can begin at the first of the two conditions.
    fn after(&self) -> String {
        if !self.is_after {
            return String::new();
        }
        let column = self.column();
        let behind = if self.descending { "<" } else { ">" };
        format!(
            r#" AND {column} {behind}= :after_key
              AND ({column} {behind} :after_key OR "allocation"."id" > :after_id)"#
        )
    }

    fn order(&self) -> String {
        self.order_by(self.column())
    }

    fn order_by(&self, column: &str) -> String {
        let direction = if self.descending { "DESC" } else { "ASC" };
        let then_id = match self.field {
            AllocationSortField::Id => "",
            _ => r#", "allocation"."id" ASC"#,
        };
        format!("ORDER BY {column} {direction}{then_id}")
    }

    /// The column of the order. In a window, times are those of the journal, whose index has them in order.
    fn column(&self) -> &'static str {
        match self.field {
            AllocationSortField::UpdatedAt if self.has_update_window => r#""moved"."time""#,
            field => field.column(),
        }
    }
}

impl AllocationSortField {
    fn column(self) -> &'static str {
        match self {
            AllocationSortField::Id => r#""allocation"."id""#,
            AllocationSortField::UpdatedAt => r#""allocation"."updated_at""#,
            AllocationSortField::Quantity => r#""allocation"."quantity""#,
            // By bytes, whatever the database's locale.
            AllocationSortField::Currency => r#""allocation"."currency" COLLATE "C""#,
        }
    }
}

/// The page of a list, and one record more.
pub(super) fn statement(list: &List) -> Statement<SqlTypeOf<AsSelect<Row, Pg>>> {
    static TEXTS: SqlTexts<AllocationListShape> = SqlTexts::new(AllocationListShape::text);

    let after = after(list);
    let shape = AllocationListShape::of(list, after.is_some());
    let (first_id, last_id) = id_range(list);
    let statement = Statement::new(&TEXTS.get(shape))
        .bind("enterprise", list.enterprise.0)
        .bind("first_id", first_id)
        .bind("last_id", last_id)
        .bind("limit", list.page.fetch());
    if shape.plain.is_some() {
        return statement;
    }
    let types: Vec<_> = list.directions.iter().map(|kind| kind.as_str()).collect();
    let statuses: Vec<_> = list.statuses.iter().map(|status| status.as_str()).collect();
    let currencies: Vec<_> = list.units.iter().map(ToString::to_string).collect();
    let mut statement = statement
        .bind("every_type", types.is_empty())
        .bind("types", types)
        .bind("every_status", statuses.is_empty())
        .bind("statuses", statuses)
        .bind("every_currency", currencies.is_empty())
        .bind("currencies", currencies)
        .bind("offset", list.page.skip())
        .bind_if_named("ids", uuids(&list.ids, |id| id.0))
        .bind_if_named("connections", uuids(&list.connections, |id| id.0))
        .bind_if_named("clients", uuids(&list.clients, |id| id.0))
        .bind_if_named("partners", uuids(&list.partners, |id| id.0))
        .bind_if_named("client_external_ids", list.client_external_ids.clone())
        .bind_if_named("client_keys", client_keys(&list.client_external_ids))
        .bind_if_named("partner_external_ids", list.partner_external_ids.clone())
        .bind_if_named("updated_from", list.updated_from.unwrap_or(Time::MIN))
        .bind_if_named("updated_to", list.updated_to.unwrap_or(Time::MAX));
    if shape.side == AllocationSide::Partner {
        let limit = list.page.fetch() + list.page.skip();
        statement = statement.bind("limit_of_each", limit);
    }
    if let Some((key, id)) = after {
        statement = statement.bind("after_key", key).bind("after_id", id);
    }
    statement
}

/// The keys of records in either direction.
fn client_keys(external_ids: &[String]) -> Vec<Uuid> {
    let keys = external_ids.iter().flat_map(|id| {
        [Direction::Allocation, Direction::Deallocation].map(|direction| direction.stored_key(id))
    });
    keys.collect()
}

fn uuids<T>(ids: &[T], uuid: impl Fn(&T) -> Uuid) -> Vec<Uuid> {
    ids.iter().map(uuid).collect()
}

/// Times of creation and, in the order of ids, the cursor, as bounds of the ids, whose order is that of creation
/// down to the microsecond.
fn id_range(list: &List) -> (Uuid, Uuid) {
    let mut first = list
        .created_from
        .map_or(Uuid::nil(), |time| ordered_id(time, [0; 8]));
    let mut last = list
        .created_to
        .map_or(Uuid::max(), |time| ordered_id(time, [0xff; 8]));
    if let (AllocationSortField::Id, Some(cursor)) = (list.order.field, list.page.after()) {
        let id = cursor.id.0.as_u128();
        if list.order.descending {
            last = last.min(Uuid::from_u128(id.saturating_sub(1)));
        } else {
            first = first.max(Uuid::from_u128(id.saturating_add(1)));
        }
    }
    (first, last)
}

/// The cursor's value and id, in an order other than that of ids.
fn after(list: &List) -> Option<(SqlValue, Uuid)> {
    let cursor = list.page.after()?;
    let key = match cursor.key.as_ref()? {
        AllocationSortKey::UpdatedAt(time) => (*time).into(),
        AllocationSortKey::Quantity(text) => Decimal::from_str_exact(text).ok()?.into(),
        AllocationSortKey::Currency(text) => text.clone().into(),
    };
    Some((key, cursor.id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::model::{AllocationOrder, Cursor};
    use crate::types::ids::{AllocationId, ClientId, ConnectionId, EnterpriseId, PartnerId};
    use crate::types::page::{Page, Start};

    fn key(field: AllocationSortField) -> Option<AllocationSortKey> {
        match field {
            AllocationSortField::Id => None,
            AllocationSortField::UpdatedAt => Some(AllocationSortKey::UpdatedAt(Time::MIN)),
            AllocationSortField::Quantity => Some(AllocationSortKey::Quantity("1.5".into())),
            AllocationSortField::Currency => Some(AllocationSortKey::Currency("EUR".into())),
        }
    }

    /// A list in which each bit sets a filter.
    fn list(
        side: AllocationSide,
        field: AllocationSortField,
        is_after: bool,
        filters: u32,
    ) -> List {
        let bit = |bit: u32| usize::from(filters & (1 << bit) > 0);
        let id = AllocationId(Uuid::nil());
        List {
            enterprise: EnterpriseId(Uuid::nil()),
            side,
            ids: vec![id; bit(0)],
            directions: Vec::new(),
            statuses: vec![Status::Reserved; bit(1)],
            units: Vec::new(),
            connections: vec![ConnectionId(Uuid::nil()); bit(2)],
            clients: vec![ClientId(Uuid::nil()); bit(3)],
            partners: vec![PartnerId(Uuid::nil()); bit(4)],
            created_from: None,
            created_to: None,
            updated_from: None,
            updated_to: (bit(8) > 0).then_some(Time::MAX),
            client_external_ids: vec![String::new(); bit(5)],
            partner_external_ids: vec![String::new(); bit(9)],
            order: AllocationOrder {
                field,
                descending: bit(6) > 0,
            },
            page: Page::new(
                1,
                match is_after {
                    true => Start::After(Cursor {
                        id,
                        key: key(field),
                    }),
                    false => Start::Skip(bit(7) as u64),
                },
            ),
        }
    }

    #[test]
    fn every_parameter_of_every_text_has_a_value() {
        for side in [AllocationSide::Client, AllocationSide::Partner] {
            for field in [
                AllocationSortField::Id,
                AllocationSortField::UpdatedAt,
                AllocationSortField::Quantity,
                AllocationSortField::Currency,
            ] {
                for (is_after, filters) in [false, true]
                    .into_iter()
                    .flat_map(|is_after| (0..1024).map(move |filters| (is_after, filters)))
                {
                    let list = list(side, field, is_after, filters);
                    let sql = statement(&list).sql();
                    assert!(sql.is_ok(), "{sql:?}: {list:?}");
                }
            }
        }
    }

    #[test]
    fn a_list_without_a_filter_has_the_plain_text() {
        let is_plain = |filters| {
            let list = list(
                AllocationSide::Client,
                AllocationSortField::Id,
                false,
                filters,
            );
            let sql = statement(&list).sql().expect("complete");
            sql.contains("LIMIT 101")
        };
        assert!(is_plain(0));
        assert!(
            [0, 1, 2, 3, 4, 5, 8, 9]
                .iter()
                .all(|filter| !is_plain(1 << filter))
        );
    }

    #[test]
    fn a_page_is_not_cut_by_its_text() {
        for (size, most) in [(1, 101), (100, 101), (101, 501), (500, 501)] {
            let mut list = list(AllocationSide::Client, AllocationSortField::Id, false, 0);
            list.page = Page::new(size, Start::Skip(0));
            let sql = statement(&list).sql().expect("complete");
            assert!(sql.contains(&format!("LIMIT {most}")), "{size}: {sql}");
        }
    }
}
