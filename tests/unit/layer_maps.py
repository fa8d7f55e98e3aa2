"""Count maps of a particle under a layer, written without the estimator's kernels: fine grid, then blur."""

import numpy as np


def count_maps(
    rng,
    shape=(40, 60),
    pixel=1.0,
    thickness=10.0,
    radius=None,
    depth=50.0,
    blur=1.0,
    metal=20.0,
    carbon=2.0,
    support=20.0,
    noise=3.0,
    angle=0.0,
    offset=None,
    oversample=4,
    cap=None,
):
    """Metal and carbon counts with their variance, the true outer distance, and the noiseless maps.

    `radius` None is a slab edge of `depth` nm; else a sphere (its path capped at `cap`). `metal` and
    `carbon` are counts per nm of path, `support` constant carbon counts, `noise` background counts under
    either edge relative to 100 counts.
    """
    rows, columns = shape
    fine = np.indices((rows * oversample, columns * oversample)) / oversample
    fine = (fine + 0.5 / oversample - 0.5) * pixel
    centre = np.array([(rows - 1) / 2, (columns - 1) / 2]) * pixel
    normal = np.array([np.sin(angle), np.cos(angle)])
    offset = -0.1 * columns * pixel if offset is None else offset
    if radius is None:
        d = (fine[0] - centre[0]) * normal[0] + (fine[1] - centre[1]) * normal[1] - offset
        core, both = depth * (d < 0), depth * (d < thickness)
        along = -(fine[0] - centre[0]) * normal[1] + (fine[1] - centre[1]) * normal[0]
    else:
        middle = centre + (offset - radius) * normal
        r = np.hypot(fine[0] - middle[0], fine[1] - middle[1])
        d, along = r - radius, np.zeros_like(r)
        core = 2 * np.sqrt(np.clip(radius**2 - r**2, 0, None))
        both = 2 * np.sqrt(np.clip((radius + thickness) ** 2 - r**2, 0, None))
        if cap is not None:
            core, both = np.minimum(core, cap), np.minimum(both, cap)
    from scipy.ndimage import gaussian_filter

    def seen(path):
        blurred = gaussian_filter(path, blur / pixel * oversample, mode="nearest")
        return blurred.reshape(rows, oversample, columns, oversample).mean(axis=(1, 3))

    metal_map, carbon_map = metal * seen(core), carbon * seen(both - core) + support
    out = {}
    for name, mean in (("metal", metal_map), ("carbon", carbon_map)):
        variance = mean + 100.0 * noise
        out[name] = (mean + rng.normal(size=mean.shape) * np.sqrt(variance), variance, mean)
    middle = slice(oversample // 2, None, oversample)
    return out, d[middle, middle], along[middle, middle]
