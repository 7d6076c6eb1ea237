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
_WIDTH, _LINES = 56, 4  # of one entry in the text panel


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

    figure = Figure(figsize=(14.5, 9.4), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 3, left=0.055, right=0.94, top=0.895, bottom=0.07, wspace=0.48, hspace=0.3, height_ratios=(1.15, 1)
    )
    axes = np.array([[figure.add_subplot(grid[row, column]) for column in range(3)] for row in range(2)])
    names = f"Rerun: {_short(comparison.new_name)}\nArchive: {_short(comparison.old_name)}"
    figure.suptitle(names, x=0.055, y=0.985, ha="left", fontsize=12, weight="bold", linespacing=1.3)
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


def _short(name: str, most: int = 120) -> str:
    return name if len(name) <= most else f"…{name[-most + 1 :]}"


def _pictured(comparison: Comparison) -> PlaneDifference:
    """Return the plane that the picture shows."""
    return comparison.plane("data") if comparison.kind == "image" else comparison.planes[-1]


# --------------------------------------------------------------------------------------------- images
def _draw_images(figure: Figure, axes: NDArray[Any], picture: Picture, comparison: Comparison) -> None:
    """Draw both images in one asinh stretch that starts at the sky."""
    from matplotlib.colors import FuncNorm

    low, high, width = _stretch(picture)

    def forward(value: Any) -> Any:
        return np.arcsinh((value - low) / width)

    def inverse(value: Any) -> Any:
        return low + width * np.sinh(value)

    ticks = [float(value) for value in inverse(np.linspace(0, forward(high), 5))]
    binned = f", mean of {picture.factor} x {picture.factor}" if picture.factor > 1 else ""
    for axis, values, name in ((axes[0], picture.old, "Archive"), (axes[1], picture.new, "Rerun")):
        image = axis.imshow(
            values, origin="lower", extent=picture.extent, cmap=_colours("gray"), interpolation="nearest",
            norm=FuncNorm((forward, inverse), vmin=low, vmax=high),
        )  # fmt: skip
        axis.set_title(f"{name}: {picture.title}{binned}", fontsize=11)
        _frame(axis, comparison)
        bar = figure.colorbar(image, cax=_beside(axis), ticks=ticks, format="%.4g")
        _label_bar(bar, picture.unit or "value")


def _stretch(picture: Picture) -> tuple[float, float, float]:
    """Return lower limit, upper limit and linear width for both images."""
    values = np.concatenate([part[np.isfinite(part)] for part in (picture.old, picture.new)])
    if not values.size:
        return 0.0, 1.0, 1.0
    lowest, middle, high = (float(value) for value in np.percentile(values, (0, 50, 99.8)))
    scatter = NORMAL_MAD * float(np.median(np.abs(values - np.float32(middle))))
    low = max(lowest, middle - 4 * scatter)
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return low, high, max(scatter, 0.002 * (high - low))


def _colours(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad="#8c7b5a" if name == "gray" else _GREY)


def _beside(axis: Axes) -> Axes:
    """Make room for a colour bar at the right side of an image."""
    return axis.inset_axes((1.03, 0.0, 0.045, 1.0))


def _label_bar(bar: Any, unit: str) -> None:
    """Write the unit over a colour bar: beside it, it would meet the next panel."""
    bar.ax.set_title(unit, fontsize=9, loc="left")
    bar.ax.tick_params(labelsize=8.5)
    bar.minorticks_off()


def _frame(axis: Axes, comparison: Comparison) -> None:
    first, last = comparison.rows
    axis.set_xlim(-0.5, comparison.shape[-1] - 0.5)
    axis.set_ylim(first - 0.5, last - 0.5)
    axis.locator_params(nbins=6)
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
    bar = figure.colorbar(image, cax=_beside(axis), extend="both" if changed.size else "neither")
    _label_bar(bar, "errors" if picture.in_errors else picture.unit or "value")
    _mark_worst(axis, _pictured(comparison), comparison.shape[-1])


def _mark_worst(axis: Axes, plane: PlaneDifference, width: int) -> None:
    """Circle and number the pixels that differ most; neighbours share one mark."""
    marks: list[tuple[int, int, list[str]]] = []
    for rank, pixel in enumerate(plane.worst, start=1):
        near = [ranks for x, y, ranks in marks if max(abs(x - pixel.x), abs(y - pixel.y)) < 0.1 * width]
        if near:
            near[0].append(str(rank))
        else:
            marks.append((pixel.x, pixel.y, [str(rank)]))
    for x, y, ranks in marks:
        right = x > 0.85 * width
        axis.plot(x, y, "o", ms=11, mfc="none", mec="black", mew=1.2)
        axis.annotate(
            ", ".join(ranks), (x, y), xytext=(-8 if right else 8, 5), textcoords="offset points", fontsize=10,
            ha="right" if right else "left", weight="bold", annotation_clip=True,
        )  # fmt: skip


# --------------------------------------------------------------------------------------------- histogram
def _draw_histogram(axis: Axes, picture: Picture, plane: PlaneDifference) -> None:
    """Draw the histogram of all good pixels, with a unit Gaussian where the unit is the error."""
    edges, counts = picture.edges, picture.counts
    total = int(counts.sum())
    if not total:
        axis.set_title("Difference of all good pixels", fontsize=11)
        _blank(axis, "no good pixel in both products")
        return
    axis.stairs(counts, edges, fill=True, color=_BLUE, alpha=0.75, label="good pixels")
    if picture.in_errors:
        centres = np.linspace(edges[0], edges[-1], 801)
        gaussian = total * (edges[1] - edges[0]) * np.exp(-0.5 * centres**2) / np.sqrt(2 * np.pi)
        axis.plot(centres, gaussian, color="black", ls="--", lw=1.2, label="unit Gaussian")
        median, scatter, name, unit = plane.error_median, plane.error_scatter, "difference / error", " errors"
    else:
        median, scatter, unit = plane.median, plane.scatter, f" {picture.unit}".rstrip()
        name = f"difference ({picture.unit or 'value'})"
    axis.set_title(
        f"Difference of all good pixels: {share(plane.identical, plane.compared)} equal\n"
        f"median {number(median, 3)}{unit}, scatter {number(scatter, 3)}{unit}", fontsize=11,
    )  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(0.5, max(10.0, 50.0 * float(counts.max(initial=1))))
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel(f"{name} (outermost bins: all beyond)")
    axis.set_ylabel("pixels per bin")
    axis.legend(loc="upper right", ncols=2, fontsize=9, frameon=False)


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
    axis.barh(places, -lost, height=0.6, color=_RED, label="lost")
    axis.barh(places, gained, height=0.6, color=_BLUE, label="gained")
    axis.set_xscale("symlog", linthresh=1, linscale=0.4)
    decades = np.log10(max(gained.max(), lost.max()))
    reach = 10.0 ** (1.6 * decades + 1.0)  # room for the numbers at the ends of the bars
    axis.set_xlim(-reach if lost.any() else -0.5, reach if gained.any() else 0.5)
    for place, plus, minus in zip(places, gained, lost, strict=True):
        for value, side in ((plus, "left"), (-minus, "right")):
            if value:
                axis.annotate(
                    f"{abs(value):,}", (value, place), xytext=(4 if value > 0 else -4, 0), textcoords="offset points",
                    va="center", ha=side, fontsize=9,
                )  # fmt: skip
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(places, [name for name, _ in shown], fontsize=9 if len(shown) < 9 else 7)
    axis.set_ylim(-0.6, len(shown) - 0.4 + 0.15 * len(shown))
    step = int(max(1, -(-decades // 2)))
    powers = [10.0**power for power in range(step, int(decades) + 2, step)]
    ticks = [*(-value for value in powers[::-1] if lost.any()), 0.0, *(value for value in powers if gained.any())]
    axis.set_xticks(ticks, [f"$10^{{{np.log10(abs(value)):.0f}}}$" if value else "0" for value in ticks])
    axis.minorticks_off()
    axis.set_xlabel("pixels (logarithmic)")
    axis.legend(loc="upper center", ncols=2, fontsize=9, frameon=False)


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
        f"{rank}:  x {pixel.x}, y {pixel.y}:  {number(pixel.difference, 3)} {comparison.planes[0].unit}"
        + ("" if pixel.in_errors is None else f", {number(pixel.in_errors, 3)} errors")
        for rank, pixel in enumerate(comparison.plane("data").worst, start=1)
    ]
    keys = len(comparison.metadata)
    said = [
        ("Outcome", [verdict(comparison)]),
        ("Coordinates", [coordinates]),
        ("References", references or ["the same"]),
        ("Metadata", [f"{keys} {'key differs' if keys == 1 else 'keys differ'}" if keys else "the same"]),
        ("Pixels that differ most", worst or ["none"]),
    ]
    lines = []
    for head, texts in said:
        wrapped = [part for text in texts for part in textwrap.wrap(text, _WIDTH)]
        lines += [f"{head}:", *(f"   {line}" for line in wrapped[:_LINES])]
    axis.text(-0.12, 1.0, "\n".join(lines), transform=axis.transAxes, va="top", fontsize=9.5, linespacing=1.45)


def _draw_resultants(axis: Axes, comparison: Comparison) -> None:
    """Draw median and scatter of the difference of each resultant."""
    from matplotlib.ticker import MaxNLocator

    compared = [plane for plane in comparison.planes if plane.compared]
    numbers = np.array([plane.resultant for plane in compared], np.float64)
    medians = np.array([plane.median for plane in compared], np.float64)
    scatters = np.array([plane.scatter for plane in compared], np.float64)
    axis.set_title("Median and scatter of each resultant", fontsize=11)
    if not numbers.size:
        _blank(axis, "no good pixel in both products")
        return
    axis.errorbar(numbers, medians, yerr=scatters, fmt="o", color=_BLUE, capsize=3)
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xlabel("resultant")
    axis.set_ylabel(f"difference ({comparison.planes[0].unit})")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
