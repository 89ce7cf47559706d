//! The line of every write, of whichever service: who wrote in whose name, what became of it, and which records it wrote.

use std::collections::BTreeSet;

use earmark::auth::scope::{RPCS, Scope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::cluster::{TestDatabase, database};
use crate::support::earmark::Earmark;
use crate::support::json::{message_bytes, method};
use crate::support::log_file::LogFile;
use crate::support::raw::{Raw, frame_bytes};

const ALLOCATIONS: &str = "/earmark.allocation.v1.AllocationService/";
const BALANCES: &str = "/earmark.balance.v1.BalanceService/";
const BUCKETS: &str = "/earmark.bucket.v1.BucketService/";
const CAS: &str = "/earmark.cas.v1.CasAllocationService/";
const CATALOGUE: &str = "/earmark.catalogue.v1.CatalogueService/";
const NETWORK: &str = "/earmark.network.v1.NetworkService/";

const TENANT: &str = "0191f7a0-0000-7000-8000-000000000001";

/// A server whose log is read, and a caller who may do everything.
struct Writing {
    earmark: Earmark,
    log: LogFile,
    raw: Raw,
    enterprises: Vec<String>,
    /// The writes that were seen to be applied.
    written: BTreeSet<String>,
    _db: TestDatabase,
}

impl Writing {
    async fn start() -> Self {
        let db = database().await;
        let log = LogFile::new();
        let earmark = Earmark::start_process_with_log(&db.url, "info", log.writer()).await;
        let raw = earmark.raw().await;
        Self {
            earmark,
            log,
            raw,
            enterprises: Vec::new(),
            written: BTreeSet::new(),
            _db: db,
        }
    }

    /// Makes a call that must succeed; returns its answer and its line.
    async fn call(&self, path: &str, request: Value) -> (Value, Value) {
        let enterprises: Vec<&str> = self.enterprises.iter().map(String::as_str).collect();
        let mut claims = self.earmark.claims("auditor", &enterprises);
        claims["scope"] = Scope::ALL.map(Scope::name).join(" ").into();
        claims["tenant"] = TENANT.into();
        claims["firm_id"] = "42".into();
        claims["companies"] = json!([7]);
        let bearer = format!("Bearer {}", self.earmark.token_of(&claims));
        let id = Uuid::new_v4().to_string();
        let metadata = [("authorization", bearer.as_str()), ("x-request-id", &id)];
        let method = method(path);
        let body = frame_bytes(0, &message_bytes(&method.input(), request));
        let answer = self.raw.call(path, &metadata, body).await;
        assert_eq!(
            answer.status.code(),
            tonic::Code::Ok,
            "{path}: {:?}",
            answer.status
        );
        let message = prost_reflect::DynamicMessage::decode(method.output(), &answer.body[5..]);
        let message = serde_json::to_value(message.expect("an answer")).expect("JSON");
        (message, self.log.call(&id).await)
    }

    /// Makes a write that must be applied, by this principal, and write these records; `*` is any id. Returns its answer.
    async fn write(
        &mut self,
        path: &str,
        request: Value,
        (kind, principal): (&str, Option<&str>),
        records: &str,
    ) -> Value {
        let (answer, line) = self.call(path, request).await;
        assert_eq!(line["outcome"], "applied", "{line}");
        assert_eq!(line["subject"], "auditor", "{line}");
        assert_eq!(line["principal_kind"], kind, "{line}");
        assert_eq!(line["principal"].as_str(), principal, "{line}");
        let found = line["records"].as_str().unwrap_or_else(|| panic!("{line}"));
        let found: Vec<&str> = found.split(' ').collect();
        let expected: Vec<&str> = records.split(' ').collect();
        assert_eq!(found.len(), expected.len(), "{line}");
        assert_eq!(line["record_count"], found.len(), "{line}");
        for (found, expected) in found.into_iter().zip(expected) {
            match expected.strip_suffix('*') {
                Some(kind) => {
                    let id = found.strip_prefix(kind);
                    let id = id.unwrap_or_else(|| panic!("{expected}: {line}"));
                    assert!(Uuid::parse_str(id).is_ok(), "{line}");
                }
                None => assert_eq!(found, expected, "{line}"),
            }
        }
        self.written.insert(path.to_owned());
        answer
    }
}

/// The id of the record that an answer has under this name.
fn id(answer: &Value, name: &str) -> String {
    let id = answer[name]["id"].as_str();
    id.unwrap_or_else(|| panic!("{name}: {answer}")).to_owned()
}

const ADMIN: (&str, Option<&str>) = ("admin", None);

/// The writes of the network; returns the enterprises of the client and of the partner, and their connection.
async fn network(world: &mut Writing) -> (String, String, String) {
    let rpc = |name: &str| format!("{NETWORK}{name}");
    let create = rpc("CreateEnterprise");
    let mut enterprises = Vec::new();
    for name in ["Client side", "Partner side"] {
        let request = json!({"name": name, "oesLicensed": true});
        let made = world.write(&create, request, ADMIN, "enterprise/*").await;
        enterprises.push(id(&made, "enterprise"));
    }
    world.enterprises.clone_from(&enterprises);
    let [a, b] = <[String; 2]>::try_from(enterprises).expect("two");
    let of = |enterprise: &'static str| ("enterprise", Some(enterprise));
    let (own, other): (&'static str, &'static str) = (a.clone().leak(), b.clone().leak());
    let request = json!({"enterpriseId": a, "name": "New name"});
    let records = format!("enterprise/{a}");
    world
        .write(&rpc("UpdateEnterprise"), request, of(own), &records)
        .await;
    let request = json!({"enterpriseId": a, "name": "Client"});
    let made = world
        .write(&rpc("CreateClient"), request, of(own), "client/*")
        .await;
    let client = id(&made, "client");
    let request = json!({"clientId": client, "name": "Client 2"});
    let records = format!("client/{client}");
    world
        .write(&rpc("UpdateClient"), request, ADMIN, &records)
        .await;
    let request = json!({"enterpriseId": b, "name": "Partner", "institutionIdentifier": "P"});
    let made = world
        .write(&rpc("CreatePartner"), request, of(other), "partner/*")
        .await;
    let partner = id(&made, "partner");
    let request = json!({"partnerId": partner, "name": "Partner 2"});
    let records = format!("partner/{partner}");
    world
        .write(&rpc("UpdatePartner"), request, ADMIN, &records)
        .await;
    let request = json!({"clientId": client, "partnerId": partner, "name": "Connection",
        "mode": "CONNECTION_MODE_CONFIRMED"});
    let made = world
        .write(&rpc("CreateConnection"), request, ADMIN, "connection/*")
        .await;
    let connection = id(&made, "connection");
    let request = json!({"connectionId": connection, "name": "Connection 2"});
    let records = format!("connection/{connection}");
    world
        .write(&rpc("UpdateConnection"), request, ADMIN, &records)
        .await;
    (a, b, connection)
}

async fn allocations(world: &mut Writing) {
    let (a, b, connection) = network(world).await;
    let own = ("enterprise", Some(a.as_str()));
    let partner = ("enterprise", Some(b.as_str()));
    let request = json!({"enterpriseId": a, "currency": "BTC", "quantity": "1000", "externalId": "deposit",
        "reason": "a deposit"});
    let adjust = format!("{BALANCES}AdjustBalance");
    world.write(&adjust, request, own, "adjustment/*").await;

    let rpc = |name: &str| format!("{ALLOCATIONS}{name}");
    let terms = |key: &str| {
        json!({"enterpriseId": a, "connectionId": connection, "clientExternalId": key,
            "amount": {"currency": "BTC", "quantity": "10"}})
    };
    let mut held = Vec::new();
    for key in ["clear", "release", "cancel"] {
        let create = rpc("CreateAllocation");
        let made = world.write(&create, terms(key), own, "allocation/*").await;
        held.push(id(&made, "allocation"));
    }
    for (name, allocation, reason) in [
        ("ClearAllocation", &held[0], None),
        ("ReleaseAllocation", &held[1], Some("not wanted")),
    ] {
        let mut request =
            json!({"enterpriseId": b, "connectionId": connection, "allocationId": allocation});
        if let Some(reason) = reason {
            request["reason"] = reason.into();
        }
        let records = format!("allocation/{allocation}");
        world.write(&rpc(name), request, partner, &records).await;
    }
    let request = json!({"enterpriseId": a, "allocationId": held[2]});
    let records = format!("allocation/{}", held[2]);
    world
        .write(&rpc("CancelAllocation"), request, own, &records)
        .await;
    world
        .write(
            &rpc("CreateDeallocation"),
            terms("back"),
            own,
            "allocation/*",
        )
        .await;

    let items = |count: usize| -> Vec<Value> {
        let item = |number| {
            json!({"type": "ALLOCATION_TYPE_ALLOCATION", "connectionId": connection,
                "clientExternalId": format!("item {number}"), "amount": {"currency": "BTC", "quantity": "1"}})
        };
        (0..count).map(item).collect()
    };
    let submit = rpc("SubmitAllocations");
    let request = json!({"enterpriseId": a, "items": items(3)});
    let three = "allocation/* allocation/* allocation/*";
    world.write(&submit, request.clone(), own, three).await;
    let (_, line) = world.call(&submit, request).await;
    assert_eq!(
        (&line["outcome"], &line["record_count"]),
        (&"replayed".into(), &3.into())
    );
    let (_, line) = world
        .call(&submit, json!({"enterpriseId": a, "items": items(25)}))
        .await;
    assert_eq!(
        (&line["outcome"], &line["record_count"]),
        (&"applied".into(), &25.into())
    );
    let named = line["records"].as_str().expect("some").split(' ').count();
    assert_eq!(named, 10, "and no more");
    let mut poor = terms("too much");
    poor["amount"]["quantity"] = "1000000".into();
    poor.as_object_mut()
        .expect("an object")
        .remove("enterpriseId");
    poor["type"] = "ALLOCATION_TYPE_ALLOCATION".into();
    let (_, line) = world
        .call(&submit, json!({"enterpriseId": a, "items": [poor]}))
        .await;
    assert_eq!(
        (&line["code"], &line["outcome"]),
        (&"Ok".into(), &"not_applied".into())
    );
    assert!(line.get("records").is_none(), "{line}");

    let (answer, line) = world.call(&rpc("CreateAllocation"), terms("clear")).await;
    assert_eq!(line["outcome"], "replayed");
    assert_eq!(
        line["records"],
        format!("allocation/{}", id(&answer, "allocation"))
    );
    let mut validated = terms("only");
    validated["validateOnly"] = true.into();
    let (_, line) = world.call(&rpc("CreateAllocation"), validated).await;
    assert_eq!(line["outcome"], "validated");
    assert!(line.get("records").is_none(), "{line}");
    let get = json!({"enterpriseId": a, "allocationId": held[0]});
    let (_, line) = world.call(&rpc("GetAllocation"), get).await;
    assert_eq!(line["principal"], a.as_str());
    assert!(
        line.get("outcome").is_none() && line.get("records").is_none(),
        "{line}"
    );
}

async fn buckets(world: &mut Writing) {
    let rpc = |name: &str| format!("{BUCKETS}{name}");
    let tenant = ("tenant", Some(TENANT));
    let amount = |of: &str| json!({"amount": of, "units": "EUR"});
    for (bucket, record) in [("one", "bucket/one"), ("an other", "bucket/an%20other")] {
        let request = json!({"bucket": {"id": bucket, "remainingValue": amount("100")}});
        world
            .write(&rpc("CreateBucket"), request, tenant, record)
            .await;
    }
    let request = json!({"bucketId": "one", "name": "One"});
    world
        .write(&rpc("UpdateBucket"), request, tenant, "bucket/one")
        .await;
    for name in ["TopupBalance", "AdjustBalance", "DeductBalance"] {
        let request = json!({"bucketId": "one", "amount": amount("5"), "requestId": name});
        world
            .write(&rpc(name), request, tenant, "action/* bucket/one")
            .await;
    }
    let request = json!({"bucketId": "one", "amount": amount("5"), "requestId": "reserve"});
    let records = "action/* bucket/one";
    let made = world
        .write(&rpc("ReserveBalance"), request, tenant, records)
        .await;
    let reserve = id(&made, "balanceAction");
    let request = json!({"bucketId": "one", "reserveId": reserve, "requestId": "unreserve"});
    let records = "action/* bucket/one";
    world
        .write(&rpc("UnreserveBalance"), request, tenant, records)
        .await;
    let request = json!({"bucketId": "one", "receiverBucketId": "an other", "amount": amount("5"),
        "requestId": "transfer"});
    let records = "action/* bucket/one bucket/an%20other";
    world
        .write(&rpc("TransferBalance"), request, tenant, records)
        .await;
    let request = json!({"bucketId": "one", "writeOff": true, "requestId": "close"});
    world
        .write(&rpc("CloseBucket"), request, tenant, "action/* bucket/one")
        .await;
}

async fn book_building(world: &mut Writing) {
    let rpc = |name: &str| format!("{CAS}{name}");
    let firm = ("firm", Some("42"));
    let record = |deal: &str, source: &str| json!({"dealId": deal, "sourceId": source});
    let mut made = Vec::new();
    for source in ["a", "b"] {
        let request = json!({"allocation": record("D", source)});
        let create = rpc("CreateAllocation");
        let answer = world
            .write(&create, request, firm, "cas_allocation/*")
            .await;
        made.push(id(&answer, "allocation"));
    }
    let records = format!("cas_allocation/{}", made[0]);
    let request = json!({"id": made[0], "allocation": record("E", "a"), "requestId": "update"});
    world
        .write(&rpc("UpdateAllocation"), request, firm, &records)
        .await;
    let request = json!({"id": made[0], "requestId": "patch",
        "operations": [{"op": "test", "path": "/dealId", "valueJson": "\"E\""}]});
    world
        .write(&rpc("PatchAllocation"), request, firm, &records)
        .await;
    let request = json!({"id": made[0], "requestId": "delete"});
    world
        .write(&rpc("DeleteAllocation"), request, firm, &records)
        .await;
    let records = format!("cas_allocation/{}", made[1]);
    let request = json!({"sourceId": "b", "requestId": "delete"});
    world
        .write(&rpc("DeleteAllocationBySourceId"), request, firm, &records)
        .await;
}

async fn catalogue(world: &mut Writing) {
    let rpc = |name: &str| format!("{CATALOGUE}{name}");
    let company = ("company", Some("7"));
    let request = json!({"company_id": 7, "name": "Company"});
    world
        .write(&rpc("PutCompany"), request, company, "company/7")
        .await;
    let texts = json!({"allocation_name": "name", "display_name": "display", "allocation_description": "text",
        "allocation_long_description": "long", "allocation_singular_label": "[qty] unit",
        "allocation_plural_label": "[qty] units"});
    let request = json!({"company_id": 7, "allocation_id": "1", "msrp_price": "0.5", "msrp_currency": "USD",
        "price_per_unit": {"number": "0.65", "currency_code": "EUR"},
        "allocation_image": "https://example.com/image.png", "translations": {"en": texts}});
    let records = "catalogue_allocation/1";
    world
        .write(&rpc("PutAllocation"), request, company, records)
        .await;
    let request = json!({"company_id": 7, "allocation_id": "1"});
    world
        .write(&rpc("DeleteAllocation"), request, company, records)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_every_write_names_the_principal_and_the_records() {
    let mut world = Writing::start().await;
    allocations(&mut world).await;
    buckets(&mut world).await;
    book_building(&mut world).await;
    catalogue(&mut world).await;
    let writes = RPCS.iter().filter(|rpc| rpc.write);
    let all: BTreeSet<String> = writes.map(|rpc| rpc.path.to_owned()).collect();
    let unseen: Vec<_> = all.difference(&world.written).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}
