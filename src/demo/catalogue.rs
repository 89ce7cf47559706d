//! The catalogue of one company, in languages that are written from the left and from the right.

use tonic::Status;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;

use crate::demo::caller::DemoCaller;
use crate::demo::ids::COMPANY;
use crate::proto::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use crate::proto::catalogue::v1::{
    PricePerUnit, PutAllocationRequest, PutCompanyRequest, Translation,
};

/// Puts the company and its two allocations: land and trees. Putting them again changes nothing.
pub(super) async fn load(routes: Routes) -> Result<(), Status> {
    let mut rpc = CatalogueServiceClient::new(InterceptedService::new(routes, DemoCaller::of(&[])));
    let company = PutCompanyRequest {
        company_id: COMPANY.0,
        name: "Acme Impact".into(),
        ..Default::default()
    };
    rpc.put_company(company).await?;
    for request in [land(), trees()] {
        rpc.put_allocation(request).await?;
    }
    Ok(())
}

/// Land, with the texts and prices of the source's example.
fn land() -> PutAllocationRequest {
    PutAllocationRequest {
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
            "0.5",
            "0.650000",
            "https://impact.dots.eco/sites/default/allocation_image.jpeg",
        )
    }
}

fn trees() -> PutAllocationRequest {
    PutAllocationRequest {
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
            // What is empty here is served in English.
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
            "2",
            "1.50",
            "https://impact.dots.eco/sites/default/trees.jpeg",
        )
    }
}

/// An allocation without texts, whose prices are in US dollars.
fn allocation(id: &str, msrp: &str, per_unit: &str, image: &str) -> PutAllocationRequest {
    PutAllocationRequest {
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
    }
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
