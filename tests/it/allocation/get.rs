//! GetAllocation.

use earmark::proto::allocation::v1::{Allocation, GetAllocationRequest};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::earmark::{Earmark, NOBODY, Parties, Refusal, refusal};

/// Creates a record of new parties.
async fn record(earmark: &Earmark) -> (Parties, Allocation) {
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let created = earmark
        .member(&[&parties.enterprise])
        .allocation
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created");
    (parties, created.into_inner().allocation.expect("set"))
}

/// The answer to a member of `memberships` that names `enterprise`.
async fn refused(earmark: &Earmark, memberships: &[&str], enterprise: &str, id: &str) -> Refusal {
    let request = GetAllocationRequest {
        enterprise_id: enterprise.into(),
        allocation_id: id.into(),
    };
    let got = earmark
        .member(memberships)
        .allocation
        .get_allocation(request)
        .await;
    refusal(got)
}

#[tokio::test]
async fn both_sides_see_the_same_record() {
    let earmark = Earmark::start().await;
    let (parties, record) = record(&earmark).await;
    for enterprise in [&parties.enterprise, &parties.partner_enterprise] {
        for id in [record.id.clone(), record.id.to_uppercase()] {
            let request = GetAllocationRequest {
                enterprise_id: enterprise.clone(),
                allocation_id: id,
            };
            let got = earmark
                .member(&[enterprise])
                .allocation
                .get_allocation(request)
                .await
                .expect("there");
            assert_eq!(got.into_inner().allocation.as_ref(), Some(&record));
        }
    }
}

#[tokio::test]
async fn another_enterprises_record_is_refused_like_an_unknown_one() {
    let earmark = Earmark::start().await;
    let (_, theirs) = record(&earmark).await;
    let (ours, _) = record(&earmark).await;
    // Another partner of the same client has no access either.
    let venue = earmark.enterprise("Venue").await;
    let (parties, record) = record(&earmark).await;
    let beside = Parties {
        partner: earmark.partner(&venue.id, "Beside").await,
        ..parties.clone()
    };
    earmark.connection(&beside, ConnectionMode::Confirmed).await;
    for (enterprise, id) in [
        (&ours.enterprise, &theirs.id),
        (&ours.partner_enterprise, &theirs.id),
        (&ours.enterprise, &NOBODY.into()),
        (&venue.id, &record.id),
    ] {
        let refused = refused(&earmark, &[enterprise], enterprise, id).await;
        let refused = refused.expect(Code::NotFound, "ALLOCATION_NOT_FOUND");
        assert!(refused.metadata.is_empty(), "{refused:?}");
    }
}

#[tokio::test]
async fn a_non_member_cannot_find_out_which_enterprises_exist() {
    let earmark = Earmark::start().await;
    let (parties, record) = record(&earmark).await;
    let (stranger, _) = self::record(&earmark).await;
    let unlicensed = earmark.new_enterprise("Unlicensed", false).await;
    for memberships in [&[stranger.enterprise.as_str()][..], &[]] {
        let mut answers = Vec::new();
        for enterprise in [
            &parties.enterprise,
            &parties.partner_enterprise,
            &unlicensed.id,
            &NOBODY.into(),
        ] {
            let mut answer = refused(&earmark, memberships, enterprise, &record.id).await;
            // The only difference is the id that the caller named.
            let named = answer.metadata.remove("id");
            assert_eq!(
                named.as_ref(),
                (!memberships.is_empty()).then_some(enterprise)
            );
            answer.message = answer.message.replace(enterprise.as_str(), "ID");
            answers.push(answer);
        }
        for answer in &answers {
            assert_eq!(answer, &answers[0], "all alike");
        }
        let answer = answers.remove(0);
        answer.expect(Code::Unauthenticated, "NOT_A_MEMBER");
    }
}

#[tokio::test]
async fn get_needs_the_licence_of_the_callers_side_only() {
    let earmark = Earmark::start().await;
    let (parties, record) = record(&earmark).await;
    let (client, partner) = (&parties.enterprise, &parties.partner_enterprise);
    for (unlicensed, licensed) in [(client, partner), (partner, client)] {
        earmark.license(unlicensed, false).await;
        let refused = refused(&earmark, &[unlicensed], unlicensed, &record.id).await;
        refused.expect(Code::PermissionDenied, "NO_OES_LICENSE");
        let request = GetAllocationRequest {
            enterprise_id: licensed.clone(),
            allocation_id: record.id.clone(),
        };
        let mut other = earmark.member(&[licensed]).allocation;
        other.get_allocation(request).await.expect("licensed");
        earmark.license(unlicensed, true).await;
    }
}

#[tokio::test]
async fn malformed_ids_are_refused() {
    let earmark = Earmark::start().await;
    let (parties, record) = record(&earmark).await;
    let bare = record.id.replace('-', "");
    let braced = format!("{{{}}}", record.id);
    let padded = format!(" {}", record.id);
    let urn = format!("urn:uuid:{}", record.id);
    for id in [
        "",
        "1",
        "\0",
        "*",
        &bare,
        &braced,
        &padded,
        &urn,
        "' OR 1=1 --",
    ] {
        let enterprise = parties.enterprise.as_str();
        let refused = refused(&earmark, &[enterprise], enterprise, id).await;
        refused.expect_invalid(&["allocation_id"]);
    }
    let both = refused(&earmark, &[], "x", "y").await;
    both.expect_invalid(&["enterprise_id", "allocation_id"]);
}
