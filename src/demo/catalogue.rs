//! A company with a catalogue, in languages of both directions.

use tonic::Status;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;

use super::AsDemo;
use crate::proto::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use crate::proto::catalogue::v1::{
    PricePerUnit, PutAllocationRequest, PutCompanyRequest, Translation,
};
use crate::types::ids::CompanyId;

/// The company; the same everywhere, so that its calls can be copied.
pub(super) const COMPANY: CompanyId = CompanyId(1);

/// Loads the catalogue, or finds it as it is: land, as the source's example has it, and trees.
pub(super) async fn load(routes: Routes) -> Result<(), Status> {
    let mut rpc = CatalogueServiceClient::new(InterceptedService::new(routes, AsDemo::of(&[])));
    let company = PutCompanyRequest {
        company_id: COMPANY.0,
        name: "Acme Impact".into(),
        ..Default::default()
    };
    rpc.put_company(company).await?;
    let allocation = |id: &str, [msrp, per_unit]: [&str; 2], image: &str| PutAllocationRequest {
        company_id: COMPANY.0,
        allocation_id: id.into(),
        msrp_price: msrp.into(),
        msrp_currency: "USD".into(),
        price_per_unit: Some(PricePerUnit {
            number: per_unit.into(),
            currency_code: "USD".into(),
        }),
        allocation_image: image.into(),
        ..Default::default()
    };
    let land = PutAllocationRequest {
        translations: [
            translation(
                "en",
                "Allocation",
                "Allocation display name",
                "Allocation Description",
                "Allocation long Description",
                ["Allocation [qty] ft2 land", "Allocations [qty] ft2 land"],
            ),
            translation(
                "fr",
                "Terrain",
                "Terrain protégé",
                "Une parcelle de forêt protégée",
                "Une parcelle de forêt, protégée pour toujours par ceux qui y vivent.",
                [
                    "[qty] pied carré de terrain",
                    "[qty] pieds carrés de terrain",
                ],
            ),
            translation(
                "ar",
                "أرض",
                "أرض محمية",
                "قطعة من غابة محمية",
                "قطعة من غابة يحميها إلى الأبد من يعيشون فيها.",
                ["[qty] قدم مربعة من الأرض", "[qty] أقدام مربعة من الأرض"],
            ),
        ]
        .into(),
        ..allocation(
            "2",
            ["0.5", "0.650000"],
            "https://impact.dots.eco/sites/default/allocation_image.jpeg",
        )
    };
    let trees = PutAllocationRequest {
        translations: [
            translation(
                "en",
                "Trees",
                "Trees in Kenya",
                "Trees planted in Kenya",
                "Trees of local kinds, planted in Kenya and looked after for ten years.",
                ["[qty] tree", "[qty] trees"],
            ),
            translation(
                "he",
                "עצים",
                "עצים בקניה",
                "עצים שנשתלים בקניה",
                "עצים ממינים מקומיים, שנשתלים בקניה ומטופלים במשך עשר שנים.",
                ["עץ [qty]", "[qty] עצים"],
            ),
            // The rest is served in English.
            translation(
                "pt-BR",
                "Árvores",
                "",
                "",
                "",
                ["[qty] árvore", "[qty] árvores"],
            ),
        ]
        .into(),
        ..allocation(
            "10",
            ["2", "1.50"],
            "https://impact.dots.eco/sites/default/trees.jpeg",
        )
    };
    for request in [land, trees] {
        rpc.put_allocation(request).await?;
    }
    Ok(())
}

fn translation(
    language: &str,
    name: &str,
    display_name: &str,
    description: &str,
    long_description: &str,
    [singular, plural]: [&str; 2],
) -> (String, Translation) {
    let texts = Translation {
        allocation_name: name.into(),
        display_name: display_name.into(),
        allocation_description: description.into(),
        allocation_long_description: long_description.into(),
        allocation_singular_label: singular.into(),
        allocation_plural_label: plural.into(),
    };
    (language.into(), texts)
}
