//! The lists, as SQL text: diesel cannot say LATERAL.
//!
//! A client's list reads one owner. A partner's starts from its connections and takes, of each, no more than the page
//! needs, in order: by creation, the cost of a page does not depend on how much there is.
//!
//! The texts are few and bounded, since each is prepared once per connection and kept: a filter that an index serves
//! appears only when it is set; the others stand there always, and let everything pass while they are empty.
//!
//! The list that everybody asks for, a client's by creation without a filter, has a text of its own, whose plan Postgres
//! makes once: planning the others takes about as long as reading their page.

use diesel::dsl::{AsSelect, SqlTypeOf};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{self, Array, BigInt, Bool, Numeric, Text, Timestamptz};
use diesel::{QueryResult, SelectableHelper};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::Row;
use crate::allocation::model::{List, Side, SortField, SortKey};
use crate::ledger::model::Status;
use crate::limits::PAGE_SIZE_MAX;
use crate::types::ids::ordered_id;

/// The largest page and one more.
const PLAIN_MAX: &str = "501";
const _: () = assert!(PAGE_SIZE_MAX == 500);

/// A list as the driver takes it.
pub(super) struct ListQuery {
    columns: AsSelect<Row, Pg>,
    side: Side,
    enterprise: Uuid,
    first_id: Uuid,
    last_id: Uuid,
    ids: Vec<Uuid>,
    types: Filter,
    statuses: Filter,
    currencies: Filter,
    connections: Vec<Uuid>,
    clients: Vec<Uuid>,
    partners: Vec<Uuid>,
    external_ids: Vec<String>,
    field: SortField,
    descending: bool,
    after: Option<After>,
    limit: i64,
    offset: i64,
    limit_each: i64,
    is_plain: bool,
}

/// A filter that stands in the text whether it is set or not.
struct Filter {
    unset: bool,
    values: Vec<&'static str>,
    texts: Vec<String>,
}

/// Where the page begins, in an order other than that of ids.
struct After {
    key: Key,
    id: Uuid,
}

enum Key {
    Time(chrono::DateTime<chrono::Utc>),
    Number(Decimal),
    Text(String),
}

impl ListQuery {
    pub(super) fn new(list: &List) -> Self {
        let (first_id, last_id) = id_range(list);
        let by_name = |values: Vec<&'static str>| Filter {
            unset: values.is_empty(),
            values,
            texts: Vec::new(),
        };
        let currencies: Vec<String> = list.units.iter().map(ToString::to_string).collect();
        Self {
            columns: Row::as_select(),
            side: list.side,
            enterprise: list.enterprise.0,
            first_id,
            last_id,
            ids: list.ids.iter().map(|id| id.0).collect(),
            types: by_name(list.directions.iter().map(|kind| kind.as_str()).collect()),
            statuses: by_name(list.statuses.iter().map(|status| status.as_str()).collect()),
            currencies: Filter {
                unset: currencies.is_empty(),
                values: Vec::new(),
                texts: currencies,
            },
            connections: list.connections.iter().map(|id| id.0).collect(),
            clients: list.clients.iter().map(|id| id.0).collect(),
            partners: list.partners.iter().map(|id| id.0).collect(),
            external_ids: list.external_ids.clone(),
            field: list.order.field,
            descending: list.order.descending,
            after: after(list),
            limit: list.page.fetch(),
            offset: list.page.skip(),
            limit_each: list.page.fetch() + list.page.skip(),
            is_plain: is_plain(list),
        }
    }

    /// A plan for all parameters is as good here as one for these, and saves planning; but Postgres has to see it. Of an
    /// unknown limit it expects a tenth of what is below: of all that an enterprise has, that would seem more than a page.
    /// A tenth of a tenth of the largest page seems less, wherever the page lies.
    fn push_plain<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            r#" FROM (SELECT * FROM (SELECT * FROM "allocation" WHERE "allocation"."owner_id" = "#,
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.enterprise)?;
        out.push_sql(r#" AND "allocation"."id" BETWEEN "#);
        out.push_bind_param::<sql_types::Uuid, _>(&self.first_id)?;
        out.push_sql(" AND ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.last_id)?;
        self.push_order(out);
        out.push_sql(" LIMIT ");
        out.push_sql(PLAIN_MAX);
        for _ in 0..2 {
            out.push_sql(r#") "allocation""#);
            self.push_order(out);
            out.push_sql(" LIMIT ");
            out.push_bind_param::<BigInt, _>(&self.limit)?;
        }
        Ok(())
    }

    /// What the records themselves must fit.
    fn push_filters<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(r#" AND "allocation"."id" BETWEEN "#);
        out.push_bind_param::<sql_types::Uuid, _>(&self.first_id)?;
        out.push_sql(" AND ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.last_id)?;
        for (column, filter) in [
            (r#""allocation"."type""#, &self.types),
            (r#""allocation"."status""#, &self.statuses),
            (r#""allocation"."currency""#, &self.currencies),
        ] {
            out.push_sql(" AND (");
            out.push_bind_param::<Bool, _>(&filter.unset)?;
            out.push_sql(" OR ");
            out.push_sql(column);
            out.push_sql(" = ANY(");
            if filter.texts.is_empty() {
                out.push_bind_param::<Array<Text>, _>(&filter.values)?;
            } else {
                out.push_bind_param::<Array<Text>, _>(&filter.texts)?;
            }
            out.push_sql("))");
        }
        if self.statuses.values == [Status::Reserved.as_str()] {
            // Said once more, as the index of what is open has it.
            out.push_sql(r#" AND "allocation"."status" = 'RESERVED'"#);
        }
        push_any::<sql_types::Uuid, _>(out, r#""allocation"."id""#, &self.ids)?;
        let external_id = match self.side {
            Side::Client => r#""allocation"."client_external_id""#,
            Side::Partner => r#""allocation"."partner_external_id""#,
        };
        push_any::<Text, _>(out, external_id, &self.external_ids)?;
        self.push_after(out)
    }

    fn push_after<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Some(After { key, id }) = &self.after else {
            return Ok(());
        };
        let (reached, passed) = if self.descending {
            (" <= ", " < ")
        } else {
            (" >= ", " > ")
        };
        out.push_sql(" AND ");
        out.push_sql(column(self.field));
        out.push_sql(reached);
        key.push(out)?;
        out.push_sql(" AND (");
        out.push_sql(column(self.field));
        out.push_sql(passed);
        key.push(out)?;
        out.push_sql(r#" OR "allocation"."id" > "#);
        out.push_bind_param::<sql_types::Uuid, _>(id)?;
        out.push_sql(")");
        Ok(())
    }

    fn push_order(&self, out: &mut AstPass<'_, '_, Pg>) {
        out.push_sql(" ORDER BY ");
        out.push_sql(column(self.field));
        out.push_sql(if self.descending { " DESC" } else { " ASC" });
        if self.field != SortField::Id {
            out.push_sql(r#", "allocation"."id" ASC"#);
        }
    }
}

impl QueryFragment<Pg> for ListQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.columns.walk_ast(out.reborrow())?;
        if self.is_plain {
            return self.push_plain(&mut out);
        }
        match self.side {
            Side::Client => {
                out.push_sql(r#" FROM "allocation" WHERE "allocation"."owner_id" = "#);
                out.push_bind_param::<sql_types::Uuid, _>(&self.enterprise)?;
                push_any::<sql_types::Uuid, _>(
                    &mut out,
                    r#""allocation"."connection_id""#,
                    &self.connections,
                )?;
                push_any::<sql_types::Uuid, _>(
                    &mut out,
                    r#""allocation"."partner_id""#,
                    &self.partners,
                )?;
                self.push_filters(&mut out)?;
            }
            Side::Partner => {
                out.push_sql(
                    r#" FROM "connection" CROSS JOIN LATERAL (SELECT * FROM "allocation"
                    WHERE "allocation"."owner_id" = "connection"."client_enterprise_id"
                      AND "allocation"."connection_id" = "connection"."id""#,
                );
                self.push_filters(&mut out)?;
                self.push_order(&mut out);
                out.push_sql(" LIMIT ");
                out.push_bind_param::<BigInt, _>(&self.limit_each)?;
                out.push_sql(r#") "allocation" WHERE "connection"."partner_enterprise_id" = "#);
                out.push_bind_param::<sql_types::Uuid, _>(&self.enterprise)?;
                push_any::<sql_types::Uuid, _>(
                    &mut out,
                    r#""connection"."id""#,
                    &self.connections,
                )?;
                push_any::<sql_types::Uuid, _>(
                    &mut out,
                    r#""connection"."client_id""#,
                    &self.clients,
                )?;
                push_any::<sql_types::Uuid, _>(
                    &mut out,
                    r#""connection"."partner_id""#,
                    &self.partners,
                )?;
            }
        }
        self.push_order(&mut out);
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(" OFFSET ");
        out.push_bind_param::<BigInt, _>(&self.offset)
    }
}

impl Query for ListQuery {
    type SqlType = SqlTypeOf<AsSelect<Row, Pg>>;
}

/// Prepared once for each text.
impl QueryId for ListQuery {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Key {
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Time(time) => out.push_bind_param::<Timestamptz, _>(time),
            Self::Number(number) => out.push_bind_param::<Numeric, _>(number),
            Self::Text(text) => out.push_bind_param::<Text, _>(text),
        }
    }
}

fn column(field: SortField) -> &'static str {
    match field {
        SortField::Id => r#""allocation"."id""#,
        SortField::UpdatedAt => r#""allocation"."updated_at""#,
        SortField::Quantity => r#""allocation"."quantity""#,
        // By bytes, whatever the database's locale.
        SortField::Currency => r#""allocation"."currency" COLLATE "C""#,
    }
}

fn push_any<'b, ST, T>(
    out: &mut AstPass<'_, 'b, Pg>,
    column: &str,
    values: &'b Vec<T>,
) -> QueryResult<()>
where
    Vec<T>: diesel::serialize::ToSql<Array<ST>, Pg>,
    Pg: sql_types::HasSqlType<ST>,
    ST: 'static,
{
    if values.is_empty() {
        return Ok(());
    }
    out.push_sql(" AND ");
    out.push_sql(column);
    out.push_sql(" = ANY(");
    out.push_bind_param::<Array<ST>, _>(values)?;
    out.push_sql(")");
    Ok(())
}

/// Times of creation and, in the order of ids, the cursor, as bounds of the ids: they sort by creation, down to the
/// microsecond.
fn id_range(list: &List) -> (Uuid, Uuid) {
    let mut first = list
        .created_from
        .map_or(Uuid::nil(), |time| ordered_id(time, [0; 8]));
    let mut last = list
        .created_to
        .map_or(Uuid::max(), |time| ordered_id(time, [0xff; 8]));
    if let (SortField::Id, Some(cursor)) = (list.order.field, list.page.after()) {
        let id = cursor.id.0.as_u128();
        if list.order.descending {
            last = last.min(Uuid::from_u128(id.saturating_sub(1)));
        } else {
            first = first.max(Uuid::from_u128(id.saturating_add(1)));
        }
    }
    (first, last)
}

/// Whether it is a client's by creation, without a filter, and without a number of pages to skip.
fn is_plain(list: &List) -> bool {
    list.side == Side::Client
        && list.order.field == SortField::Id
        && list.page.skip() == 0
        && list.ids.is_empty()
        && list.directions.is_empty()
        && list.statuses.is_empty()
        && list.units.is_empty()
        && list.connections.is_empty()
        && list.clients.is_empty()
        && list.partners.is_empty()
        && list.external_ids.is_empty()
}

fn after(list: &List) -> Option<After> {
    let cursor = list.page.after()?;
    let key = match cursor.key.as_ref()? {
        SortKey::UpdatedAt(time) => Key::Time(time.to_chrono()),
        SortKey::Quantity(text) => Key::Number(Decimal::from_str_exact(text).ok()?),
        SortKey::Currency(text) => Key::Text(text.clone()),
    };
    Some(After {
        key,
        id: cursor.id.0,
    })
}
