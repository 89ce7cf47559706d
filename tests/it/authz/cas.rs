//! CasAllocationService.

use earmark::proto::cas::v1::{
    CasAllocation, CreateAllocationRequest, Criterion, DeleteAllocationBySourceIdRequest,
    DeleteAllocationRequest, GetAllocationRequest, PatchAllocationRequest, PatchOperation,
    SearchAllocationsRequest, UpdateAllocationRequest,
};
use prost::Message;

use super::{REPLAYED, SERVED, Step, TAKEN, Table, add, step};
use crate::support::earmark::{Earmark, NOBODY};

/// A firm with records by their source ids: `one` and `other`. Every kind of change has used the key on `one`.
struct World<'w> {
    earmark: &'w Earmark,
    /// The id of `one`.
    id: String,
}

fn said(source_id: &str, deal_id: &str) -> Option<CasAllocation> {
    Some(CasAllocation {
        source_id: Some(source_id.into()),
        deal_id: Some(deal_id.into()),
        ..Default::default()
    })
}

fn create(source_id: &str, deal_id: &str) -> CreateAllocationRequest {
    CreateAllocationRequest {
        allocation: said(source_id, deal_id),
        ..Default::default()
    }
}

fn update(id: &str, source_id: &str, key: &str) -> UpdateAllocationRequest {
    UpdateAllocationRequest {
        id: id.into(),
        allocation: said(source_id, "D"),
        request_id: key.into(),
        ..Default::default()
    }
}

/// Tests for this deal; true of both records.
fn patch(id: &str, path: &str, deal_id: &str, key: &str) -> PatchAllocationRequest {
    PatchAllocationRequest {
        id: id.into(),
        operations: vec![PatchOperation {
            op: "test".into(),
            path: path.into(),
            from: None,
            value_json: Some(format!("{deal_id:?}")),
        }],
        request_id: key.into(),
        ..Default::default()
    }
}

fn delete(id: &str, key: &str) -> DeleteAllocationRequest {
    DeleteAllocationRequest {
        id: id.into(),
        request_id: key.into(),
        ..Default::default()
    }
}

fn delete_by_source_id(source_id: &str, key: &str) -> DeleteAllocationBySourceIdRequest {
    DeleteAllocationBySourceIdRequest {
        source_id: source_id.into(),
        request_id: key.into(),
        ..Default::default()
    }
}

async fn world(earmark: &Earmark) -> World<'_> {
    let mut client = earmark.firm("1");
    let mut ids = Vec::new();
    for source_id in ["one", "other", "gone", "gone too"] {
        let created = client.create_allocation(create(source_id, "D")).await;
        let created = created.expect("created").into_inner().allocation;
        ids.push(created.expect("set").id);
    }
    let done = "done";
    let id = ids[0].clone();
    client
        .update_allocation(update(&id, "one", TAKEN))
        .await
        .expect(done);
    client
        .patch_allocation(patch(&id, "/dealId", "D", TAKEN))
        .await
        .expect(done);
    client
        .delete_allocation(delete(&ids[2], TAKEN))
        .await
        .expect(done);
    client
        .delete_allocation_by_source_id(delete_by_source_id("gone too", TAKEN))
        .await
        .expect(done);
    World { earmark, id }
}

impl World<'_> {
    fn token(&self, firm: &str) -> String {
        let mut claims = self.earmark.claims("somebody", &[]);
        claims["scope"] = "allocations-read allocations-write".into();
        if !firm.is_empty() {
            claims["firm_id"] = firm.into();
        }
        self.earmark.token_of(&claims)
    }

    fn step(&self, expected: &'static str, message: &impl Message) -> Step {
        step(expected, self.token("1"), message)
    }

    /// What every call begins with: wrong arguments, then a token that names no firm.
    fn first<M: Message>(&self, invalid: &M, valid: &M) -> Vec<Step> {
        vec![
            step("INVALID_REQUEST", self.token(""), invalid),
            step("CLAIM_MISSING", self.token(""), valid),
        ]
    }

    /// The same, then a stranger, for whom there is no such record whatever its key.
    fn first_of_a_record<M: Message>(&self, invalid: &M, valid: &M) -> Vec<Step> {
        let mut steps = self.first(invalid, valid);
        steps.push(step("ALLOCATION_NOT_FOUND", self.token("2"), valid));
        steps
    }
}

pub(super) async fn add_to(table: &mut Table, earmark: &Earmark) {
    let world = &world(earmark).await;
    for (method, steps) in [
        ("SearchAllocations", search(world)),
        ("GetAllocation", get(world)),
        ("CreateAllocation", creation(world)),
        ("UpdateAllocation", updating(world)),
        ("PatchAllocation", patching(world)),
        ("DeleteAllocation", deletion(world)),
        ("DeleteAllocationBySourceId", deletion_by_source_id(world)),
    ] {
        let path = format!("/earmark.cas.v1.CasAllocationService/{method}");
        add(table, &path, steps);
    }
}

fn search(world: &World<'_>) -> Vec<Step> {
    let token = |criteria: Vec<Criterion>| SearchAllocationsRequest {
        criteria,
        page_token: "x".into(),
        ..Default::default()
    };
    let mut steps = world.first(
        &token(vec![Criterion::default()]),
        &SearchAllocationsRequest::default(),
    );
    steps.insert(
        1,
        step("PAGE_TOKEN_INVALID", world.token(""), &token(Vec::new())),
    );
    steps.push(world.step(SERVED, &SearchAllocationsRequest::default()));
    steps
}

fn get(world: &World<'_>) -> Vec<Step> {
    let of = |id: &str| GetAllocationRequest { id: id.into() };
    let mut steps = world.first_of_a_record(&of("x"), &of(&world.id));
    steps.push(world.step("ALLOCATION_NOT_FOUND", &of(NOBODY)));
    steps.push(world.step(SERVED, &of(&world.id)));
    steps
}

fn creation(world: &World<'_>) -> Vec<Step> {
    let mut steps = world.first(&create("", "D"), &create("one", "E"));
    steps.push(world.step("IDEMPOTENCY_KEY_REUSED", &create("one", "E")));
    steps.push(world.step(REPLAYED, &create("one", "D")));
    steps.push(world.step(SERVED, &create("new", "D")));
    steps
}

fn updating(world: &World<'_>) -> Vec<Step> {
    let at_nine = |request: UpdateAllocationRequest| UpdateAllocationRequest {
        expected_version: Some(9),
        ..request
    };
    let id = world.id.as_str();
    let mut steps = world.first_of_a_record(&update("x", "one", ""), &update(id, "one", TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &update(NOBODY, "other", TAKEN)),
        world.step(REPLAYED, &at_nine(update(id, "one", TAKEN))),
        world.step(
            "ALLOCATION_NOT_FOUND",
            &at_nine(update(NOBODY, "other", "")),
        ),
        world.step("VERSION_MISMATCH", &at_nine(update(id, "other", ""))),
        world.step("SOURCE_ID_TAKEN", &update(id, "other", "")),
        world.step(SERVED, &update(id, "one", "")),
    ]);
    steps
}

fn patching(world: &World<'_>) -> Vec<Step> {
    let at_nine = |request: PatchAllocationRequest| PatchAllocationRequest {
        expected_version: Some(9),
        ..request
    };
    let id = world.id.as_str();
    let path = "/dealId";
    let mut steps = world.first_of_a_record(
        &patch(id, "dealId", "D", TAKEN),
        &patch(id, path, "D", TAKEN),
    );
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &patch(NOBODY, path, "E", TAKEN)),
        world.step(REPLAYED, &at_nine(patch(id, path, "D", TAKEN))),
        world.step(
            "ALLOCATION_NOT_FOUND",
            &at_nine(patch(NOBODY, path, "E", "")),
        ),
        world.step("VERSION_MISMATCH", &at_nine(patch(id, path, "E", ""))),
        world.step("PATCH_TEST_FAILED", &patch(id, path, "E", "")),
        world.step(SERVED, &patch(id, path, "D", "")),
    ]);
    steps
}

fn deletion(world: &World<'_>) -> Vec<Step> {
    let stale = DeleteAllocationRequest {
        expected_version: Some(9),
        ..delete(&world.id, "")
    };
    let mut steps = world.first_of_a_record(&delete("x", ""), &delete(&world.id, TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &delete(NOBODY, TAKEN)),
        world.step("ALLOCATION_NOT_FOUND", &delete(NOBODY, "")),
        world.step("VERSION_MISMATCH", &stale),
        world.step(SERVED, &delete(&world.id, "")),
        world.step("ALLOCATION_NOT_FOUND", &delete(&world.id, "")),
    ]);
    steps
}

fn deletion_by_source_id(world: &World<'_>) -> Vec<Step> {
    let of = delete_by_source_id;
    let stale = DeleteAllocationBySourceIdRequest {
        expected_version: Some(9),
        ..of("other", "")
    };
    let mut steps = world.first_of_a_record(&of("", ""), &of("other", TAKEN));
    steps.extend([
        world.step("IDEMPOTENCY_KEY_REUSED", &of("other", TAKEN)),
        world.step("ALLOCATION_NOT_FOUND", &of("gone too", TAKEN)),
        world.step("VERSION_MISMATCH", &stale),
        world.step(SERVED, &of("other", "")),
    ]);
    steps
}
