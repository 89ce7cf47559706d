//! The two filtered lists, as SQL text: diesel's DSL has no UNION of two ordered and limited queries.
//!
//! A filter that is not set is left out of the text: with `x = ANY($1) OR $1 is empty` a generic plan could not use the
//! index on `x`. So a list has at most 2⁶ texts, each prepared once per connection when it is first used. A filter with
//! any number of values is one parameter.

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel::{QueryResult, SelectableHelper, sql_types};
use uuid::Uuid;

use super::rows::{NetworkConnectionRow, NetworkPartnerRow};
use crate::network::model::NetworkFilter;

/// The arguments of a list in the types of the driver.
pub(super) struct NetworkLookup {
    pub(super) enterprise: Uuid,
    pub(super) connection_ids: Vec<Uuid>,
    pub(super) client_ids: Vec<Uuid>,
    pub(super) partner_ids: Vec<Uuid>,
    pub(super) partners_connection_ids: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) active: Option<bool>,
    /// The id behind which the list begins; the nil UUID sorts before all others.
    pub(super) after: Uuid,
    pub(super) limit: i64,
}

impl NetworkLookup {
    pub(super) fn new(enterprise: Uuid, filter: &NetworkFilter, after: Uuid, limit: i64) -> Self {
        Self {
            enterprise,
            connection_ids: filter.connection_ids.iter().map(|id| id.0).collect(),
            client_ids: filter.client_ids.iter().map(|id| id.0).collect(),
            partner_ids: filter.partner_ids.iter().map(|id| id.0).collect(),
            partners_connection_ids: filter.partners_connection_ids.clone(),
            names: filter.names.clone(),
            active: filter.active,
            after,
            limit,
        }
    }

    /// Whether a filter other than those on partner ids and names applies to connections.
    fn filters_connections(&self) -> bool {
        !self.connection_ids.is_empty()
            || !self.client_ids.is_empty()
            || !self.partners_connection_ids.is_empty()
            || self.active.is_some()
    }

    fn push_connection_filters<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        push_ids(out, r#""connection"."id""#, &self.connection_ids)?;
        push_ids(out, r#""connection"."client_id""#, &self.client_ids)?;
        push_texts(
            out,
            r#""connection"."partners_connection_id""#,
            &self.partners_connection_ids,
        )?;
        if let Some(active) = &self.active {
            out.push_sql(
                r#" AND ("connection"."allocations_enabled" OR "connection"."deallocations_enabled") = "#,
            );
            out.push_bind_param::<Bool, _>(active)?;
        }
        Ok(())
    }
}

/// The connections with a side in the enterprise. Each side is an index scan in the order of the list. The two sides of
/// a connection are always different enterprises, so none is listed twice.
pub(super) struct NetworkConnectionList {
    lookup: NetworkLookup,
    columns: AsSelect<NetworkConnectionRow, Pg>,
}

impl NetworkConnectionList {
    pub(super) fn new(lookup: NetworkLookup) -> Self {
        let columns = NetworkConnectionRow::as_select();
        Self { lookup, columns }
    }
}

impl QueryFragment<Pg> for NetworkConnectionList {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let lookup = &self.lookup;
        for (opening, side) in [
            ("(", r#""client_enterprise_id""#),
            (") UNION ALL (", r#""partner_enterprise_id""#),
        ] {
            out.push_sql(opening);
            out.push_sql("SELECT ");
            self.columns.walk_ast(out.reborrow())?;
            out.push_sql(r#" FROM "connection" WHERE "connection"."#);
            out.push_sql(side);
            out.push_sql(" = ");
            out.push_bind_param::<sql_types::Uuid, _>(&lookup.enterprise)?;
            push_ids(
                &mut out,
                r#""connection"."partner_id""#,
                &lookup.partner_ids,
            )?;
            push_texts(&mut out, r#""connection"."name""#, &lookup.names)?;
            lookup.push_connection_filters(&mut out)?;
            push_page(&mut out, r#""connection"."id""#, lookup)?;
        }
        out.push_sql(r#") ORDER BY "id" LIMIT "#);
        out.push_bind_param::<BigInt, _>(&lookup.limit)
    }
}

/// The partners of the enterprise, and those that its client has a connection to. With many partners of other
/// enterprises (seen with 200,000) the planner starts from the enterprise's own records, so a page costs as much
/// as these are many.
pub(super) struct NetworkPartnerList {
    lookup: NetworkLookup,
    columns: AsSelect<NetworkPartnerRow, Pg>,
}

impl NetworkPartnerList {
    pub(super) fn new(lookup: NetworkLookup) -> Self {
        let columns = NetworkPartnerRow::as_select();
        Self { lookup, columns }
    }
}

impl QueryFragment<Pg> for NetworkPartnerList {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let lookup = &self.lookup;
        out.push_sql("SELECT ");
        self.columns.walk_ast(out.reborrow())?;
        out.push_sql(
            r#" FROM "partner" WHERE "partner"."id" IN (
            SELECT own."id" FROM "partner" own WHERE own."enterprise_id" = "#,
        );
        out.push_bind_param::<sql_types::Uuid, _>(&lookup.enterprise)?;
        out.push_sql(
            r#" UNION ALL SELECT "connection"."partner_id" FROM "connection"
            WHERE "connection"."client_enterprise_id" = "#,
        );
        out.push_bind_param::<sql_types::Uuid, _>(&lookup.enterprise)?;
        out.push_sql(")");
        push_ids(&mut out, r#""partner"."id""#, &lookup.partner_ids)?;
        push_texts(&mut out, r#""partner"."name""#, &lookup.names)?;
        if lookup.filters_connections() {
            out.push_sql(
                r#" AND EXISTS (SELECT FROM "connection" WHERE "connection"."partner_id" = "partner"."id" AND "#,
            );
            out.push_bind_param::<sql_types::Uuid, _>(&lookup.enterprise)?;
            out.push_sql(
                r#" IN ("connection"."client_enterprise_id", "connection"."partner_enterprise_id")"#,
            );
            lookup.push_connection_filters(&mut out)?;
            out.push_sql(")");
        }
        push_page(&mut out, r#""partner"."id""#, lookup)
    }
}

/// Adds the condition to begin behind the cursor, the order, and the limit.
fn push_page<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    id: &str,
    lookup: &'b NetworkLookup,
) -> QueryResult<()> {
    out.push_sql(&format!(" AND {id} > "));
    out.push_bind_param::<sql_types::Uuid, _>(&lookup.after)?;
    out.push_sql(&format!(" ORDER BY {id} LIMIT "));
    out.push_bind_param::<BigInt, _>(&lookup.limit)
}

fn push_ids<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    column: &str,
    ids: &'b Vec<Uuid>,
) -> QueryResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    out.push_sql(&format!(" AND {column} = ANY("));
    out.push_bind_param::<Array<sql_types::Uuid>, _>(ids)?;
    out.push_sql(")");
    Ok(())
}

fn push_texts<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    column: &str,
    texts: &'b Vec<String>,
) -> QueryResult<()> {
    if texts.is_empty() {
        return Ok(());
    }
    out.push_sql(&format!(" AND {column} = ANY("));
    out.push_bind_param::<Array<Text>, _>(texts)?;
    out.push_sql(")");
    Ok(())
}

/// Implements for each list what diesel needs: the columns of its rows, and that each SQL text is prepared separately.
macro_rules! list_queries {
    ($($list:ident gives $row:ident;)*) => {$(
        impl Query for $list {
            type SqlType = SqlTypeOf<AsSelect<$row, Pg>>;
        }

        impl QueryId for $list {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }
    )*};
}

list_queries! {
    NetworkConnectionList gives NetworkConnectionRow;
    NetworkPartnerList gives NetworkPartnerRow;
}
