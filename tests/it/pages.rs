//! Every list, over random sizes of records up to their limits: the pages add up to exactly the list, by token and by
//! number; or a numbered page is refused with how many records fit, and following that leads to the list.

mod advice;
mod currencies;
mod lists;
mod stock;
mod tokens;

use std::collections::BTreeSet;

use earmark::proto::DESCRIPTORS;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status};

use self::lists::{AskedPage, Listed, Numbering, PagedList};
use self::stock::StockedServer;
use crate::support::earmark::refusal;
use crate::support::random::Random;

const SEED: u64 = 42;
/// Walks of each list, each with a page size of its own.
const ROUNDS: usize = 4;

#[test]
fn every_list_with_page_tokens_is_walked_here() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let with_tokens: BTreeSet<String> = files
        .file
        .iter()
        .flat_map(|file| &file.message_type)
        .filter(|message| {
            message
                .field
                .iter()
                .any(|field| field.name() == "page_token")
        })
        .map(|message| message.name().to_owned())
        // Its pages are of one version of a balance, and are walked with the balance.
        .filter(|name| name != "GetBalanceRequest")
        .collect();
    let walked = PagedList::ALL.iter().map(|list| list.request_name());
    assert_eq!(walked.collect::<BTreeSet<_>>(), with_tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_allocations_add_up_whatever_the_size_of_the_records() {
    use PagedList::{ClientAllocations, Entries, PartnerAllocations};

    walk(&[ClientAllocations, PartnerAllocations], &[Entries]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_balances_add_up_whatever_the_size_of_the_records() {
    use PagedList::{ClientBalances, PartnerBalances};

    walk(&[ClientBalances, PartnerBalances], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_buckets_and_catalogues_add_up_whatever_the_size_of_the_records() {
    use PagedList::{
        AccumulatedBalances, BalanceActions, Buckets, CatalogueAllocations, Languages,
    };

    let large = [Buckets, CatalogueAllocations];
    walk(&large, &[BalanceActions, AccumulatedBalances, Languages]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_searches_and_networks_add_up_whatever_the_size_of_the_records() {
    use PagedList::{Connections, Enterprises, Partners, Searches};

    walk(&[Searches], &[Enterprises, Partners, Connections]).await;
}

/// Walks these lists, by pages of several sizes. Those with large records must have pages that end early, and numbered ones
/// that are refused.
async fn walk(large: &[PagedList], small: &[PagedList]) {
    let server = StockedServer::make(SEED).await;
    let mut random = Random::new(SEED);
    for list in [large, small].concat() {
        let expected = server.expected(list).await;
        assert!(expected.len() > 8, "{list:?} has {}", expected.len());
        let (mut refusals, mut ended_early) = (0, false);
        for round in 0..ROUNDS {
            let size = page_size(&mut random, round, expected.len());
            let at = format!("{list:?} by {size}, round {round} of seed {SEED}");
            let by_token = walk_by_token(&server, list, size).await;
            assert_eq!(by_token.records, expected, "by token: {at}");
            ended_early |= by_token.ended_early;
            if list.numbering() != Numbering::Nothing {
                let by_number = walk_by_number(&server, list, size).await;
                assert_eq!(by_number.records, expected, "by number: {at}");
                refusals += by_number.refusals;
            }
        }
        let is_large = large.contains(&list);
        assert_eq!(ended_early, is_large, "{list:?}");
        let is_numbered = list.numbering() != Numbering::Nothing;
        assert_eq!(refusals > 0, is_large && is_numbered, "{list:?}");
    }
}

/// Sizes from 0, which is the default, to more than all; a numbered page must not be larger than the maximum.
fn page_size(random: &mut Random, round: usize, records: usize) -> i32 {
    let size = match round % 4 {
        0 => 0,
        // As large as a page can be: of large records it does not fit.
        3 => records + 1,
        1 => random.number(1..8) * records.div_ceil(64),
        _ => random.number(records.div_ceil(20)..records + 1),
    };
    i32::try_from(size.min(500)).expect("at most 500")
}

struct Walk {
    records: Vec<String>,
    refusals: usize,
    ended_early: bool,
}

async fn walk_by_token(server: &StockedServer, list: PagedList, size: i32) -> Walk {
    let mut walk = Walk {
        records: Vec::new(),
        refusals: 0,
        ended_early: false,
    };
    let mut asked = AskedPage::First;
    loop {
        let page = server.page(list, size, &asked).await.expect("a page");
        let count = i32::try_from(page.ids.len()).expect("few");
        walk.records.extend(page.ids);
        if page.token.is_empty() {
            return walk;
        }
        assert!(count > 0, "an empty page with a token: {list:?}");
        walk.ended_early |= count < list.applied(size);
        asked = AskedPage::After(page.token);
    }
}

/// Follows the numbers to a page that leads nowhere. A refusal says how many records fit: pages of other sizes have other
/// numbers, so these begin again; an offset goes on.
async fn walk_by_number(server: &StockedServer, list: PagedList, mut size: i32) -> Walk {
    let mut walk = Walk {
        records: Vec::new(),
        refusals: 0,
        ended_early: false,
    };
    let first = list.first_number();
    let mut number = first;
    loop {
        match server.page(list, size, &AskedPage::Number(number)).await {
            Ok(page) => {
                let ends = page.token.is_empty();
                let count = i32::try_from(page.ids.len()).expect("few");
                walk.records.extend(page.ids);
                if ends {
                    return walk;
                }
                assert_eq!(
                    count,
                    list.applied(size),
                    "a numbered page is whole: {list:?}"
                );
                number += list.step(size);
            }
            Err(status) => {
                walk.refusals += 1;
                let fits = advice_of(&status, list);
                assert!((1..list.applied(size)).contains(&fits), "{fits} of {size}");
                size = fits;
                if list.numbering() != Numbering::Offset {
                    number = first;
                    walk.records.clear();
                }
            }
        }
    }
}

/// How many records fit, as a refusal says.
fn advice_of(status: &Status, list: PagedList) -> i32 {
    let refused = refusal(Err::<(), _>(status.clone()));
    let refused = refused.expect(Code::InvalidArgument, "PAGE_TOO_LARGE");
    assert_eq!(refused.fields(), [list.size_field()]);
    assert_eq!(refused.metadata["field"], list.size_field());
    let fits = &refused.metadata["fits"];
    assert!(
        status
            .message()
            .contains(&format!("ask for {fits} by `{}`", list.size_field()))
    );
    fits.parse().expect("a number")
}

/// The result of one call: what is on the page, and the token of the next one.
type PageResult = Result<Listed, Status>;
