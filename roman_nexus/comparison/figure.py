"""The picture of a comparison: both images, the difference, its histogram, the flags gained and lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.comparison.pixels import NORMAL_MAD, PlaneDifference
from roman_nexus.comparison.sections import number, share, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from roman_nexus.comparison.picture import Picture
    from roman_nexus.comparison.result import Comparison

__all__ = ["draw"]

# Okabe & Ito's blue and vermilion, told apart with any colour vision
_BLUE, _RED, _GREY = "#0072b2", "#d55e00", "#b0b0b0"
_MOST_FLAGS = 12
_WIDTH = 62  # characters of a line in the text panel


def draw(comparison: Comparison) -> Figure:
    """Draw the picture.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    matplotlib.figure.Figure
        With an Agg canvas of its own.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.03, hspace=0.05)
    figure = Figure(figsize=(14.5, 9.2), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, gridspec_kw={"height_ratios": (1.25, 1)})
    figure.suptitle(
        f"Rerun {_short(comparison.new_name)} against archive {_short(comparison.old_name)}", fontsize=13, weight="bold"
    )
    picture = comparison.picture
    _draw_images(figure, axes[0], picture, comparison)
    _draw_difference(figure, axes[0, 2], picture, comparison)
    _draw_histogram(axes[1, 0], picture, _pictured(comparison))
    _draw_flags(axes[1, 1], comparison)
    if comparison.kind == "image":
        _draw_words(axes[1, 2], comparison)
    else:
        _draw_resultants(axes[1, 2], comparison)
    return figure


def _short(name: str, most: int = 62) -> str:
    return name if len(name) <= most else f"…{name[-most + 1 :]}"


def _pictured(comparison: Comparison) -> PlaneDifference:
    """Return the plane that the picture shows."""
    return comparison.plane("data") if comparison.kind == "image" else comparison.planes[-1]


# --------------------------------------------------------------------------------------------- images
def _draw_images(figure: Figure, axes: NDArray[Any], picture: Picture, comparison: Comparison) -> None:
    """Draw both images in one stretch."""
    from matplotlib.colors import AsinhNorm

    low, high, width = _stretch(picture)
    binned = f", mean of {picture.factor} x {picture.factor}" if picture.factor > 1 else ""
    for axis, values, name in ((axes[0], picture.old, "Archive"), (axes[1], picture.new, "Rerun")):
        norm = AsinhNorm(linear_width=width, vmin=low, vmax=high)
        image = axis.imshow(
            values, origin="lower", extent=picture.extent, cmap=_colours("gray"), norm=norm, interpolation="nearest"
        )
        axis.set_title(f"{name}: {picture.title}{binned}", fontsize=11)
        _frame(axis, comparison)
        bar = figure.colorbar(image, ax=axis, shrink=0.86, pad=0.02, ticks=_ticks(low, high, width), format="%.3g")
        bar.set_label(f"{picture.unit or 'value'} (asinh stretch)")
        bar.minorticks_off()


def _stretch(picture: Picture) -> tuple[float, float, float]:
    """Return lower limit, upper limit and linear width for both images."""
    values = np.concatenate([part[np.isfinite(part)] for part in (picture.old, picture.new)])
    if not values.size:
        return 0.0, 1.0, 1.0
    low, middle, high = (float(value) for value in np.percentile(values, (0.5, 50, 99.8)))
    scatter = NORMAL_MAD * float(np.median(np.abs(values - np.float32(middle))))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return low, high, max(2 * scatter, 0.01 * (high - low))


def _ticks(low: float, high: float, width: float) -> list[float]:
    """Return five values at equal distances on the bar."""
    return [
        float(width * np.sinh(value)) for value in np.linspace(np.arcsinh(low / width), np.arcsinh(high / width), 5)
    ]


def _colours(name: str) -> Any:
    from matplotlib import colormaps

    colours = colormaps[name].copy()
    colours.set_bad("#8c7b5a" if name == "gray" else _GREY)
    return colours


def _frame(axis: Axes, comparison: Comparison) -> None:
    first, last = comparison.rows
    axis.set_xlim(-0.5, comparison.shape[-1] - 0.5)
    axis.set_ylim(first - 0.5, last - 0.5)
    axis.set_xlabel("x (pixel)")
    axis.set_ylabel("y (pixel)")
    if last - first < 0.5 * comparison.shape[-1]:
        axis.set_aspect("auto")


def _draw_difference(figure: Figure, axis: Axes, picture: Picture, comparison: Comparison) -> None:
    """Draw the difference with symmetric limits and mark the pixels that differ most."""
    finite = np.abs(picture.difference[np.isfinite(picture.difference)])
    changed = finite[finite > 0]
    limit = float(np.percentile(changed, 99)) if changed.size else 1.0
    image = axis.imshow(
        picture.difference, origin="lower", extent=picture.extent, cmap=_colours("RdBu_r"), vmin=-limit, vmax=limit,
        interpolation="nearest",
    )  # fmt: skip
    where = f", largest in {picture.factor} x {picture.factor}" if picture.factor > 1 else ""
    axis.set_title(f"Rerun minus archive{where}", fontsize=11)
    _frame(axis, comparison)
    bar = figure.colorbar(image, ax=axis, shrink=0.86, pad=0.02, extend="both" if changed.size else "neither")
    bar.set_label("difference / error" if picture.in_errors else f"difference ({picture.unit or 'value'})")
    for rank, pixel in enumerate(_pictured(comparison).worst, start=1):
        axis.plot(pixel.x, pixel.y, "o", ms=11, mfc="none", mec="black", mew=1.2)
        right = pixel.x > 0.93 * comparison.shape[-1]
        axis.annotate(
            str(rank), (pixel.x, pixel.y), xytext=(-8 if right else 8, 5), textcoords="offset points", fontsize=10,
            ha="right" if right else "left", weight="bold", annotation_clip=True,
        )  # fmt: skip


# --------------------------------------------------------------------------------------------- histogram
def _draw_histogram(axis: Axes, picture: Picture, plane: PlaneDifference) -> None:
    """Draw the histogram of all good pixels, with a unit Gaussian where the unit is the error."""
    edges, counts = picture.edges, picture.counts
    total = int(counts.sum())
    axis.stairs(counts, edges, fill=True, color=_BLUE, alpha=0.75, label="good pixels")
    if picture.in_errors:
        centres = np.linspace(edges[0], edges[-1], 801)
        gaussian = total * (edges[1] - edges[0]) * np.exp(-0.5 * centres**2) / np.sqrt(2 * np.pi)
        axis.plot(centres, gaussian, color="black", ls="--", lw=1.2, label="unit Gaussian")
        median, scatter, axis_label = plane.error_median, plane.error_scatter, "difference / error"
        title = "Difference in units of error"
        unit = ""
    else:
        median, scatter, axis_label = plane.median, plane.scatter, f"difference ({picture.unit or 'value'})"
        title, unit = "Difference", f" {picture.unit}".rstrip()
    axis.set_title(f"{title}: median {number(median, 3)}{unit}, scatter {number(scatter, 3)}{unit}", fontsize=11)
    axis.set_yscale("log")
    axis.set_ylim(0.5, max(10.0, 30.0 * float(counts.max(initial=1))))
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel(f"{axis_label}; the outermost bins hold all beyond")
    axis.set_ylabel("pixels per bin")
    axis.legend(loc="upper right", fontsize=9, frameon=False)
    axis.text(
        0.02, 0.97, f"{total:,} pixels\n{share(plane.identical, plane.compared)} equal", transform=axis.transAxes,
        va="top", fontsize=9,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- flags
def _draw_flags(axis: Axes, comparison: Comparison) -> None:
    """Draw bars of the flags lost (to the left) and gained (to the right)."""
    counts = _flag_counts(comparison)
    axis.set_title("Data-quality flags lost and gained", fontsize=11)
    if not counts:
        said = "no bit differs" if comparison.flags else "no data-quality array in both products"
        _blank(axis, said)
        return
    shown = sorted(counts.items(), key=lambda item: -sum(item[1]))[:_MOST_FLAGS][::-1]
    places = np.arange(len(shown))
    gained, lost = (np.array([count[side] for _, count in shown]) for side in (0, 1))
    axis.barh(places, gained, height=0.6, color=_BLUE, label="gained")
    axis.barh(places, -lost, height=0.6, color=_RED, label="lost")
    axis.set_xscale("symlog", linthresh=1, linscale=0.4)
    reach = 40.0 * float(max(gained.max(), lost.max()))
    axis.set_xlim(-reach if lost.any() else -0.8, reach if gained.any() else 0.8)
    for place, plus, minus in zip(places, gained, lost, strict=True):
        for value, side in ((plus, "left"), (-minus, "right")):
            if value:
                axis.annotate(
                    f"{abs(value):,}", (value, place), xytext=(4 if value > 0 else -4, 0), textcoords="offset points",
                    va="center", ha=side, fontsize=9,
                )  # fmt: skip
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(places, [name for name, _ in shown], fontsize=9)
    axis.set_ylim(-0.7, len(shown) - 0.3 + 0.12 * len(shown))
    axis.xaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}" if abs(value) < 1e4 else f"{abs(value):.0e}")
    axis.xaxis.set_major_locator(_symmetric_ticks(reach, bool(lost.any()), bool(gained.any())))
    axis.set_xlabel("pixels (lost to the left, gained to the right; logarithmic)")
    axis.legend(loc="upper center", ncols=2, fontsize=9, frameon=False)


def _symmetric_ticks(reach: float, left: bool, right: bool) -> Any:
    from matplotlib.ticker import FixedLocator

    top = max(1, int(np.log10(reach)))
    powers = [10.0**power for power in range(0, top + 1, max(1, -(-top // 3)))]
    return FixedLocator([*([-value for value in powers] if left else []), 0, *(powers if right else [])])


def _flag_counts(comparison: Comparison) -> dict[str, list[int]]:
    """Add up gained and lost over the resultants."""
    several = len({flags.name for flags in comparison.flags}) > 1
    counts: dict[str, list[int]] = {}
    for flags in comparison.flags:
        for change in flags.changes:
            name = f"{change.name}\n{flags.name}" if several else change.name
            total = counts.setdefault(name, [0, 0])
            total[0] += change.gained
            total[1] += change.lost
    return counts


def _blank(axis: Axes, text: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="#555555")


# ------------------------------------------------------------------------------------- the sixth panel
def _draw_words(axis: Axes, comparison: Comparison) -> None:
    """Write what no picture shows."""
    import textwrap

    axis.axis("off")
    axis.set_title("In words", fontsize=11)
    wcs = comparison.wcs
    if wcs.note:
        coordinates = wcs.note
    elif wcs.same:
        coordinates = "the same"
    else:
        coordinates = f"shift {number(wcs.median_mas, 3)} mas (median), {number(wcs.max_mas, 3)} mas (largest)"
    references = [f"{item.reftype} ({item.why})" for item in comparison.references if item.matters]
    worst = [
        f"{rank}: x {pixel.x}, y {pixel.y}, {number(pixel.difference, 3)} {comparison.planes[0].unit}"
        + ("" if pixel.in_errors is None else f" = {number(pixel.in_errors, 3)} errors")
        for rank, pixel in enumerate(comparison.plane("data").worst, start=1)
    ]
    said = [
        ("Outcome", verdict(comparison)),
        ("Coordinates", coordinates),
        ("References", "; ".join(references) or "the same"),
        ("Metadata", f"{len(comparison.metadata)} keys differ" if comparison.metadata else "the same"),
        ("Pixels that differ most", "; ".join(worst) or "none"),
    ]
    lines = []
    for head, text in said:
        wrapped = textwrap.wrap(text, _WIDTH, max_lines=4, placeholder=" …")
        lines.append("\n".join([f"{head}:", *(f"   {line}" for line in wrapped)]))
    axis.text(0.0, 0.98, "\n".join(lines), transform=axis.transAxes, va="top", fontsize=9.5, linespacing=1.4)


def _draw_resultants(axis: Axes, comparison: Comparison) -> None:
    """Draw median and scatter of the difference of each resultant."""
    from matplotlib.ticker import MaxNLocator

    compared = [plane for plane in comparison.planes if plane.compared]
    numbers = np.array([plane.resultant for plane in compared], np.float64)
    medians = np.array([plane.median for plane in compared], np.float64)
    scatters = np.array([plane.scatter for plane in compared], np.float64)
    axis.set_title("Difference in each resultant", fontsize=11)
    if not numbers.size:
        _blank(axis, "no good pixel in both products")
        return
    axis.errorbar(numbers, medians, yerr=scatters, fmt="o", color=_BLUE, capsize=3, label="median and scatter")
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xlabel("resultant")
    axis.set_ylabel(f"difference ({comparison.planes[0].unit})")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="best", fontsize=9, frameon=False)
