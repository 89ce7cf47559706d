//! Plots as SVG.

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use plotters::prelude::*;

use crate::results::{Curve, Growth};

const SIZE: (u32, u32) = (760, 420);
/// Told apart by people who see colours in other ways too.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// A line of a plot.
struct PlotLine {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Throughput against concurrency, both by powers.
pub(super) fn throughput(curves: &[Curve]) -> Result<String> {
    let lines: Vec<PlotLine> = curves
        .iter()
        .map(|curve| PlotLine {
            name: curve.name.into(),
            points: curve
                .points
                .iter()
                .map(|point| (point.callers as f64, point.per_second))
                .collect(),
        })
        .collect();
    draw(&lines, "callers", "calls per second", &|callers| {
        format!("{callers:.0}")
    })
}

/// What a call costs against how many rows there are.
pub(super) fn growth(growth: &[Growth]) -> Result<String> {
    let lines: Vec<PlotLine> = growth
        .iter()
        .map(|growth| PlotLine {
            name: growth.work.into(),
            points: growth
                .points
                .iter()
                .map(|(rows, server, postgres)| (*rows, server + postgres))
                .collect(),
        })
        .collect();
    draw(&lines, "rows", "µs a call", &|rows| format!("{rows:.0}"))
}

/// Latency against how rare it is: the horizontal axis counts the nines.
pub(super) fn percentiles(latencies: &[(String, &Histogram<u64>)]) -> Result<String> {
    const QUANTILES: [f64; 9] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999];
    let lines: Vec<PlotLine> = latencies
        .iter()
        .map(|(name, latency)| PlotLine {
            name: name.clone(),
            points: QUANTILES
                .iter()
                .map(|quantile| {
                    let micros = latency.value_at_quantile(*quantile);
                    (1.0 / (1.0 - quantile), micros as f64 / 1_000.0)
                })
                .collect(),
        })
        .collect();
    let percentile = |rarity: &f64| number(100.0 * (1.0 - 1.0 / rarity));
    draw(&lines, "percentile of calls", "latency in ms", &percentile)
}

/// At most two digits behind the point, and none that says nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

fn draw(lines: &[PlotLine], x: &str, y: &str, x_label: &dyn Fn(&f64) -> String) -> Result<String> {
    // What failed has no points, and axes without ends cannot be drawn.
    if lines.iter().all(|line| line.points.is_empty()) {
        return Ok("<p>not measured</p>".into());
    }
    let mut svg = String::new();
    draw_on(&mut svg, lines, x, y, x_label).map_err(|error| anyhow!("a plot: {error}"))?;
    Ok(svg)
}

fn draw_on(
    svg: &mut String,
    lines: &[PlotLine],
    x: &str,
    y: &str,
    x_label: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let x_min = all().map(|point| point.0).fold(f64::MAX, f64::min);
    let (x_max, y_min, y_max) = all()
        .fold((2.0_f64, f64::MAX, 0.0_f64), |(x, low, high), point| {
            (x.max(point.0), low.min(point.1), high.max(point.1))
        });
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (x_min.max(0.1)..x_max * 1.1).log_scale(),
            (y_min.max(0.01) * 0.7..y_max.max(0.1) * 1.6).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|value| x_label(value))
        .y_label_formatter(&|value| number(*value))
        .light_line_style(RGBColor(240, 240, 240))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    root.present()?;
    Ok(())
}
