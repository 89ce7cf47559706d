//! Prepaid buckets of one party: money, as in TMF654's example, and data volume that is being used.

use prost_types::Timestamp;
use tonic::Status;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;

use crate::demo::caller::DemoCaller;
use crate::demo::ids::{PARTY_ACCOUNT, PRODUCT};
use crate::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use crate::proto::bucket::v1::{
    ActionAmount, Bucket, CreateBucketRequest, DeductBalanceRequest, PartyAccountRef, ProductRef,
    Quantity, ReserveBalanceRequest, TimePeriod, TopupBalanceRequest, UsageType,
};

type BucketClient = BucketServiceClient<InterceptedService<Routes, DemoCaller>>;

/// Creates the buckets, and uses the one with data volume.
pub(super) async fn load(routes: Routes) -> Result<(), Status> {
    let mut rpc = BucketServiceClient::new(InterceptedService::new(routes, DemoCaller::of(&[])));
    let data = data_bucket();
    let data_id = data.id.clone();
    for bucket in [money_bucket(), data] {
        let request = CreateBucketRequest {
            bucket: Some(bucket),
            ..Default::default()
        };
        rpc.create_bucket(request).await?;
    }
    use_data(&mut rpc, data_id).await
}

fn money_bucket() -> Bucket {
    Bucket {
        product: vec![
            product(PRODUCT, "ServiceTelcoGsmSms"),
            product(
                "0.0.0.1+-service-telco-gsm-telephony+104255",
                "ServiceTelcoGsmTelephony",
            ),
        ],
        remaining_value: Some(quantity("45", "EUR")),
        valid_for: Some(TimePeriod {
            // 2020-05-02T00:00:00-07:00
            start_date_time: Some(Timestamp {
                seconds: 1_588_402_800,
                nanos: 0,
            }),
            end_date_time: None,
        }),
        ..bucket("0.0.0.1+-balance_group+106463", "Account Balance Group")
    }
}

fn data_bucket() -> Bucket {
    Bucket {
        product: vec![product(
            "0.0.0.1+-service-telco-gprs+103002",
            "ServiceTelcoGprs",
        )],
        remaining_value: Some(quantity("10000", "MB")),
        usage_type: UsageType::Data.into(),
        ..bucket("0.0.0.1+-balance_group+106464", "Data")
    }
}

/// A top-up, and a session: its reserve, of which a part is used while the rest stays reserved.
async fn use_data(rpc: &mut BucketClient, bucket_id: String) -> Result<(), Status> {
    let amount = |amount: &str| {
        Some(ActionAmount {
            amount: amount.into(),
            units: "MB".into(),
        })
    };
    let topup = TopupBalanceRequest {
        bucket_id: bucket_id.clone(),
        amount: amount("2500"),
        request_id: "demo top-up".into(),
        channel: Some("web".into()),
        ..Default::default()
    };
    rpc.topup_balance(topup).await?;
    let session = ReserveBalanceRequest {
        bucket_id: bucket_id.clone(),
        amount: amount("500"),
        request_id: "demo session".into(),
        ..Default::default()
    };
    let answer = rpc.reserve_balance(session).await?.into_inner();
    let used = DeductBalanceRequest {
        bucket_id,
        amount: amount("120.5"),
        request_id: "demo usage".into(),
        reserve_id: answer.balance_action.map(|reserve| reserve.id),
        keep_rest: true,
        ..Default::default()
    };
    rpc.deduct_balance(used).await.map(|_| ())
}

/// A bucket of the party, with the members that both have.
fn bucket(id: &str, name: &str) -> Bucket {
    let party = PartyAccountRef {
        id: PARTY_ACCOUNT.into(),
        name: Some("James Kurup".into()),
        status: Some("active".into()),
        r#type: Some("PartyAccountRef".into()),
        ..Default::default()
    };
    Bucket {
        id: id.into(),
        name: Some(name.into()),
        party_account: Some(party),
        r#type: Some("Bucket".into()),
        base_type: Some("Bucket".into()),
        ..Default::default()
    }
}

fn product(id: &str, name: &str) -> ProductRef {
    ProductRef {
        id: id.into(),
        name: Some(name.into()),
        r#type: Some("ProductRef".into()),
        ..Default::default()
    }
}

fn quantity(amount: &str, units: &str) -> Quantity {
    Quantity {
        amount: amount.into(),
        units: units.into(),
        r#type: Some("Quantity".into()),
        ..Default::default()
    }
}
