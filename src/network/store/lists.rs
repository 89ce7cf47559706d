//! The two filtered lists, as SQL text: diesel's DSL has no UNION of two ordered and limited queries.
//!
//! A filter that is not set is left out of the text: with `x = ANY(:x) OR :x is empty` a generic plan could not use the
//! index on `x`. So a list has at most 2⁶ texts, each prepared once per connection when it is first used. A filter with
//! any number of values is one parameter.

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use uuid::Uuid;

use super::rows::{NamedConnectionSql, NetworkConnectionRow, NetworkPartnerRow};
use crate::db::statement::{SqlText, SqlTexts, Statement, any_condition, select_list};
use crate::network::model::NetworkFilter;
use crate::types::ids::EnterpriseId;

/// What the text of a list depends on: the filters that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NetworkListShape {
    has_connection_ids: bool,
    has_client_ids: bool,
    has_partner_ids: bool,
    has_partners_connection_ids: bool,
    has_names: bool,
    has_active: bool,
}

impl NetworkListShape {
    fn of(filter: &NetworkFilter) -> Self {
        Self {
            has_connection_ids: !filter.connection_ids.is_empty(),
            has_client_ids: !filter.client_ids.is_empty(),
            has_partner_ids: !filter.partner_ids.is_empty(),
            has_partners_connection_ids: !filter.partners_connection_ids.is_empty(),
            has_names: !filter.names.is_empty(),
            has_active: filter.active.is_some(),
        }
    }

    /// Whether a filter other than those on partner ids and names applies to connections.
    fn filters_connections(&self) -> bool {
        self.has_connection_ids
            || self.has_client_ids
            || self.has_partners_connection_ids
            || self.has_active
    }

    /// The connections with a side in the enterprise. Each side is an index scan in the order of the list. The two sides
    /// of a connection are always different enterprises, so none is listed twice.
    fn connections(&self) -> String {
        let columns = select_list::<NetworkConnectionRow>();
        let partner_ids = any_condition(
            self.has_partner_ids,
            r#""connection"."partner_id""#,
            "partner_ids",
        );
        let names = any_condition(self.has_names, r#""connection"."name""#, "names");
        let filters = self.connection_filters();
        let of_side = |side: &str| {
            format!(
                r#"SELECT {columns} FROM "connection" WHERE "connection"."{side}" = :enterprise
                {partner_ids}{names}{filters}
                AND "connection"."id" > :after ORDER BY "connection"."id" LIMIT :limit"#
            )
        };
        // The names are looked up for the page alone. Subqueries leave the planner no choice of a join.
        format!(
            r#"SELECT "connection".*,
                (SELECT "client"."name" FROM "client" WHERE "client"."id" = "connection"."client_id"),
                (SELECT "partner"."name" FROM "partner" WHERE "partner"."id" = "connection"."partner_id")
            FROM (({}) UNION ALL ({}) ORDER BY "id" LIMIT :limit) "connection" ORDER BY "id""#,
            of_side("client_enterprise_id"),
            of_side("partner_enterprise_id"),
        )
    }

    /// The partners of the enterprise, and those that its client has a connection to. With many partners of other
    /// enterprises (seen with 200,000) the planner starts from the enterprise's own records, so a page costs as much
    /// as these are many.
    fn partners(&self) -> String {
        let columns = select_list::<NetworkPartnerRow>();
        let partner_ids = any_condition(self.has_partner_ids, r#""partner"."id""#, "partner_ids");
        let names = any_condition(self.has_names, r#""partner"."name""#, "names");
        let connected = if self.filters_connections() {
            format!(
                r#" AND EXISTS (SELECT FROM "connection" WHERE "connection"."partner_id" = "partner"."id"
                AND :enterprise IN ("connection"."client_enterprise_id", "connection"."partner_enterprise_id"){})"#,
                self.connection_filters(),
            )
        } else {
            String::new()
        };
        format!(
            r#"SELECT {columns} FROM "partner" WHERE "partner"."id" IN (
                SELECT own."id" FROM "partner" own WHERE own."enterprise_id" = :enterprise
                UNION ALL
                SELECT "connection"."partner_id" FROM "connection"
                WHERE "connection"."client_enterprise_id" = :enterprise
            ){partner_ids}{names}{connected}
            AND "partner"."id" > :after ORDER BY "partner"."id" LIMIT :limit"#
        )
    }

    fn connection_filters(&self) -> String {
        let active = if self.has_active {
            r#" AND ("connection"."allocations_enabled" OR "connection"."deallocations_enabled") = :active"#
        } else {
            ""
        };
        [
            any_condition(
                self.has_connection_ids,
                r#""connection"."id""#,
                "connection_ids",
            ),
            any_condition(
                self.has_client_ids,
                r#""connection"."client_id""#,
                "client_ids",
            ),
            any_condition(
                self.has_partners_connection_ids,
                r#""connection"."partners_connection_id""#,
                "partners_connection_ids",
            ),
            active.into(),
        ]
        .concat()
    }
}

/// At most `limit` connections of the list, in the order of ids, behind `after`; the nil UUID is before all others.
pub(super) fn connections(
    enterprise: EnterpriseId,
    filter: &NetworkFilter,
    after: Uuid,
    limit: i64,
) -> Statement<NamedConnectionSql> {
    static TEXTS: SqlTexts<NetworkListShape> = SqlTexts::new(NetworkListShape::connections);
    let text = TEXTS.get(NetworkListShape::of(filter));
    statement(&text, enterprise, filter, after, limit)
}

/// The same for partners.
pub(super) fn partners(
    enterprise: EnterpriseId,
    filter: &NetworkFilter,
    after: Uuid,
    limit: i64,
) -> Statement<SqlTypeOf<AsSelect<NetworkPartnerRow, Pg>>> {
    static TEXTS: SqlTexts<NetworkListShape> = SqlTexts::new(NetworkListShape::partners);
    let text = TEXTS.get(NetworkListShape::of(filter));
    statement(&text, enterprise, filter, after, limit)
}

fn statement<Row>(
    text: &SqlText,
    enterprise: EnterpriseId,
    filter: &NetworkFilter,
    after: Uuid,
    limit: i64,
) -> Statement<Row> {
    let mut statement = Statement::new(text)
        .bind("enterprise", enterprise.0)
        .bind("after", after)
        .bind("limit", limit)
        .bind_if_named("connection_ids", uuids(&filter.connection_ids, |id| id.0))
        .bind_if_named("client_ids", uuids(&filter.client_ids, |id| id.0))
        .bind_if_named("partner_ids", uuids(&filter.partner_ids, |id| id.0))
        .bind_if_named(
            "partners_connection_ids",
            filter.partners_connection_ids.clone(),
        )
        .bind_if_named("names", filter.names.clone());
    if let Some(active) = filter.active {
        statement = statement.bind("active", active);
    }
    statement
}

fn uuids<T>(ids: &[T], uuid: impl Fn(&T) -> Uuid) -> Vec<Uuid> {
    ids.iter().map(uuid).collect()
}
