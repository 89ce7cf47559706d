use earmark::auth::caller::Caller;
use earmark::proto::network::v1 as pb;
use tonic::Code;

use super::{NOBODY, client, enterprise, network};
use crate::support::service::{Services, admin, detail, is_replayed, member, reason};

fn get(id: &str) -> pb::GetEnterpriseRequest {
    pb::GetEnterpriseRequest {
        enterprise_id: id.into(),
    }
}

fn update(id: &str) -> pb::UpdateEnterpriseRequest {
    pb::UpdateEnterpriseRequest {
        enterprise_id: id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_created_enterprise_is_read_back_and_has_an_owner_row() {
    let services = Services::start().await;
    let created = enterprise(&services.admin(), "Ünïcode & söhne").await;
    assert_eq!(created.name, "Ünïcode & söhne");
    assert!(created.oes_licensed);
    assert_eq!((created.version, &created.client_id), (1, &None));
    assert!(created.created_at.is_some());
    assert_eq!(created.created_at, created.updated_at);

    let read = services.admin().get_enterprise(get(&created.id)).await;
    let read = read.expect("found").into_inner().enterprise;
    assert_eq!(read.as_ref(), Some(&created));
    let owners = services
        .count("SELECT count(*) FROM owner JOIN enterprise ON id = owner_id")
        .await;
    assert_eq!(owners, 1);
    assert_eq!(services.count("SELECT count(*) FROM owner").await, 1);
}

#[tokio::test]
async fn an_update_changes_the_members_that_are_set_and_the_version() {
    let services = Services::start().await;
    let network = services.admin();
    let created = enterprise(&network, "before").await;

    let request = pb::UpdateEnterpriseRequest {
        oes_licensed: Some(false),
        expected_version: Some(1),
        ..update(&created.id)
    };
    let response = network.update_enterprise(request).await.expect("updated");
    assert!(!is_replayed(&response));
    let changed = response.into_inner().enterprise.expect("the record");
    let expected = pb::Enterprise {
        oes_licensed: false,
        version: 2,
        updated_at: changed.updated_at,
        ..created.clone()
    };
    assert_eq!(changed, expected);
    let micros = |time: Option<prost_types::Timestamp>| {
        let time = time.expect("a time");
        (time.seconds, time.nanos)
    };
    assert!(micros(changed.updated_at) > micros(created.updated_at));
    assert_eq!(changed.updated_at.expect("a time").nanos % 1_000, 0);

    let request = pb::UpdateEnterpriseRequest {
        name: Some("after".into()),
        ..update(&created.id)
    };
    let response = network.update_enterprise(request).await.expect("updated");
    let renamed = response.into_inner().enterprise.expect("the record");
    assert_eq!((renamed.name.as_str(), renamed.version), ("after", 3));
    assert!(!renamed.oes_licensed);
    let read = network.get_enterprise(get(&created.id)).await;
    assert_eq!(read.expect("found").into_inner().enterprise, Some(renamed));
}

#[tokio::test]
async fn an_unexpected_version_is_refused_with_both_versions() {
    let services = Services::start().await;
    let network = services.admin();
    let created = enterprise(&network, "e").await;
    let request = pb::UpdateEnterpriseRequest {
        name: Some("other".into()),
        expected_version: Some(7),
        ..update(&created.id)
    };
    let refused = network.update_enterprise(request).await.expect_err("stale");
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(detail(&refused, "expected_version").as_deref(), Some("7"));
    assert_eq!(detail(&refused, "actual_version").as_deref(), Some("1"));
    assert_eq!(detail(&refused, "outcome").as_deref(), Some("not_applied"));
    assert_eq!(reason::<()>(Err(refused)), "VERSION_MISMATCH");

    let read = network.get_enterprise(get(&created.id)).await;
    assert_eq!(read.expect("found").into_inner().enterprise, Some(created));
}

#[tokio::test]
async fn an_unknown_enterprise_is_not_found_for_authorised_callers() {
    let services = Services::start().await;
    let network = services.admin();
    let found = network.get_enterprise(get(NOBODY)).await;
    assert_eq!(reason(found), "ENTERPRISE_NOT_FOUND");
    let found = network.update_enterprise(update(NOBODY)).await;
    assert_eq!(reason(found), "ENTERPRISE_NOT_FOUND");
    let own = services.network(member(&[NOBODY]));
    let found = own.get_enterprise(get(NOBODY)).await;
    assert_eq!(reason(found), "ENTERPRISE_NOT_FOUND");
}

#[tokio::test]
async fn only_members_and_administrators_may_read_an_enterprise() {
    let world = network().await;
    let own = world.services.network(member(&[&world.buyer.id]));
    let read = own.get_enterprise(get(&world.buyer.id)).await;
    let read = read.expect("found").into_inner().enterprise;
    let read = read.expect("the record");
    assert_eq!(read.client_id.as_ref(), Some(&world.client.id));

    // Whether there is one or not.
    for id in [world.venue.id.as_str(), NOBODY] {
        assert_eq!(reason(own.get_enterprise(get(id)).await), "NOT_A_MEMBER");
    }
    let mut nobody = member(&[]);
    nobody.enterprises = Caller::with_scopes("nobody", &[]).enterprises;
    let refused = world.services.network(nobody.clone());
    let refused = refused.get_enterprise(get(&world.buyer.id)).await;
    assert_eq!(reason(refused), "NOT_A_MEMBER");
    let refused = world.services.network(nobody);
    let refused = refused.list_enterprises(Default::default()).await;
    assert_eq!(reason(refused), "NOT_A_MEMBER");
}

#[tokio::test]
async fn administrators_list_all_enterprises_and_members_their_own_in_creation_order() {
    let services = Services::start().await;
    let network = services.admin();
    let mut created = Vec::new();
    for name in ["c", "a", "b"] {
        created.push(enterprise(&network, name).await);
    }
    created[1].client_id = Some(client(&network, &created[1].id).await.id);

    let all = network.list_enterprises(Default::default()).await;
    let all = all.expect("listed").into_inner();
    assert_eq!(all.enterprises, created);
    assert_eq!(all.next_page_token, "");

    let own = services.network(member(&[&created[2].id, NOBODY, &created[0].id]));
    let listed = own.list_enterprises(Default::default()).await;
    let listed = listed.expect("listed").into_inner().enterprises;
    assert_eq!(listed, [created[0].clone(), created[2].clone()]);
    let none = services.network(member(&[]));
    let none = none.list_enterprises(Default::default()).await;
    assert_eq!(none.expect("listed").into_inner().enterprises, []);
}

#[tokio::test]
async fn pages_contain_each_enterprise_once_while_others_are_created() {
    let services = Services::start().await;
    let network = services.admin();
    let mut created = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        created.push(enterprise(&network, name).await.id);
    }
    let (mut listed, mut token) = (Vec::new(), String::new());
    for page in 0.. {
        let request = pb::ListEnterprisesRequest {
            page_size: 2,
            page_token: token,
        };
        let answer = network.list_enterprises(request).await;
        let answer = answer.expect("listed").into_inner();
        assert!(answer.enterprises.len() <= 2);
        listed.extend(answer.enterprises.into_iter().map(|e| e.id));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        if page == 0 {
            created.push(enterprise(&network, "late").await.id);
        }
    }
    assert_eq!(listed, created);
}

#[tokio::test]
async fn a_page_token_is_refused_with_other_memberships() {
    let services = Services::start().await;
    let network = services.admin();
    let (a, b) = (
        enterprise(&network, "a").await,
        enterprise(&network, "b").await,
    );
    let request = |page_token: String| pb::ListEnterprisesRequest {
        page_size: 1,
        page_token,
    };
    let own = services.network(member(&[&a.id, &b.id]));
    let first = own.list_enterprises(request(String::new())).await;
    let token = first.expect("listed").into_inner().next_page_token;
    assert_ne!(token, "");

    let mut other_subject = member(&[&b.id, &a.id]);
    other_subject.subject = "somebody else".into();
    let second = services.network(other_subject);
    let second = second.list_enterprises(request(token.clone())).await;
    assert_eq!(second.expect("listed").into_inner().enterprises, [b]);

    for other in [member(&[&a.id]), admin()] {
        let refused = services.network(other);
        let refused = refused.list_enterprises(request(token.clone())).await;
        assert_eq!(reason(refused), "PAGE_TOKEN_INVALID");
    }
    let refused = own.list_enterprises(request(token.to_lowercase())).await;
    assert_eq!(reason(refused), "PAGE_TOKEN_INVALID");
}
