//! Reads the metrics of a server as Prometheus does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One answer of a metrics port.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// The type of each metric: `counter`, `gauge` or `histogram`.
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) series: Vec<Series>,
}

/// One line with a number.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Asks a server by HTTP/1; returns the head and the body of its answer.
pub(crate) async fn http(address: SocketAddr, request: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(
            format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Ok((head.to_owned(), body.to_owned()))
}

/// The metrics of a server, which may be starting.
pub(crate) async fn scrape(address: SocketAddr) -> Scrape {
    let begun = Instant::now();
    loop {
        match http(address, "GET /metrics").await {
            Ok((head, body)) => {
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                return Scrape::parse(&body);
            }
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first metrics of a server that are as wanted.
pub(crate) async fn scrape_until(
    address: SocketAddr,
    limit: Duration,
    is_wanted: impl Fn(&Scrape) -> bool,
) -> Scrape {
    let begun = Instant::now();
    loop {
        let scrape = scrape(address).await;
        if is_wanted(&scrape) {
            return scrape;
        }
        assert!(begun.elapsed() < limit, "{scrape:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let (name, kind) = described.split_once(' ').expect("a type");
                scrape.types.insert(name.into(), kind.into());
            } else if !line.starts_with('#') {
                scrape.series.push(Series::parse(line));
            }
        }
        scrape
    }

    /// The sum of the series with this name and these labels, among others; `None` if there is none.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &&Series| {
            let label = |(key, value): &(&str, &str)| {
                series.labels.get(*key).is_some_and(|found| found == value)
            };
            series.name == name && labels.iter().all(label)
        };
        let values: Vec<f64> = self.series.iter().filter(has).map(|it| it.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The metric that a series belongs to: of a histogram's three kinds of series, the histogram.
    pub(crate) fn metric_of(&self, series: &Series) -> String {
        let histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| series.name.strip_suffix(suffix))
            .filter(|name| self.types.get(*name).is_some_and(|it| it == "histogram"));
        histogram.unwrap_or(&series.name).to_owned()
    }

    /// The labels of each metric, `le` aside.
    pub(crate) fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for series in &self.series {
            let labels = series.labels.keys().filter(|label| *label != "le");
            let of_metric = all.entry(self.metric_of(series)).or_default();
            of_metric.extend(labels.cloned());
        }
        all
    }
}

impl Series {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a number");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.trim_end_matches('}')),
            None => (series, ""),
        };
        // No value of a label has a comma or a quote.
        let label = |label: &str| {
            let (key, value) = label.split_once('=').expect("a label");
            (key.to_owned(), value.trim_matches('"').to_owned())
        };
        Self {
            name: name.into(),
            labels: labels
                .split(',')
                .filter(|it| !it.is_empty())
                .map(label)
                .collect(),
            value: value.parse().expect("a number"),
        }
    }
}
