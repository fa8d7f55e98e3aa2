"""The mixed model against published values, other packages, and identities that hold exactly."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ceiflow.statistics.components import nested_components
from ceiflow.statistics.mixed import kenward_roger, nested_design, reml

# Pastry dough experiment: 28 runs in 7 days, response surface in three factors, days random. Data: Goos and
# Jones (2011), Optimal Design of Experiments, chapter 7 (longitudinal expansion index). day, flow rate,
# moisture content, screw speed, index.
PASTRY = """
1 30 18 300 15.6;1 45 18 400 15.7;1 37.5 21 350 11.2;1 45 24 300 13.4;2 37.5 24 300 13.6;2 45 24 400 15.9
2 45 18 350 16.2;2 30 21 400 13.2;3 37.5 18 300 12.5;3 45 21 400 14;3 45 24 300 11.9;3 30 24 350 9.2
4 30 18 300 13.7;4 45 18 400 17.2;4 30 24 400 11.7;4 37.5 21 350 11.9;5 45 24 350 10.9;5 30 21 300 9.5
5 37.5 18 400 14.7;5 30 24 400 11.9;6 30 18 400 15.2;6 45 18 300 16;6 45 24 400 15.1;6 30 24 300 9.1
7 30 18 350 15.6;7 37.5 24 400 14;7 30 24 300 11.6;7 45 21 300 14.2
"""
# Kenward-Roger estimates, standard errors and degrees of freedom of this model by R's lmerTest (pbkrtest), as
# kept with the tests of MixedModelsSmallSample.jl ("Results pastry dough lmertest.csv").
LMERTEST = {
    "1": (11.3844051286165, 0.658534445673044, 17.9081871339357),
    "F": (1.01038896027136, 0.206295357737288, 12.3526285829433),
    "M": (-1.471738196107, 0.20426517484691, 12.3156273759996),
    "S": (0.726682072878481, 0.206295357737288, 12.3526285829433),
    "FF": (0.327581807478654, 0.438685368048047, 12.1589854691269),
    "MM": (1.30258180747866, 0.438685368048047, 12.1589854691269),
    "SS": (1.05258180747865, 0.438685368048047, 12.1589854691269),
    "FM": (0.423845176568154, 0.223965020958373, 12.1401601758639),
    "FS": (-0.0701332513194276, 0.221216087020783, 12.0918611993801),
    "MS": (0.211154823431846, 0.223965020958373, 12.1401601758639),
}


def test_kenward_roger_agrees_with_lmertest():
    table = np.array([run.split() for line in PASTRY.split("\n") for run in line.split(";") if run], float)
    day, y = table[:, 0], table[:, 4]
    factor = {"F": (table[:, 1] - 37.5) / 7.5, "M": (table[:, 2] - 21) / 3, "S": (table[:, 3] - 350) / 50}
    columns = [np.prod([factor.get(c, np.ones(28)) for c in term], axis=0) for term in LMERTEST]
    design = nested_design([(d, i) for i, d in enumerate(day)], ("day", "run"))
    fit = reml(design, y, np.stack(columns, axis=1))
    assert fit.converged
    for row, (estimate, se, df) in zip(np.eye(len(LMERTEST)), LMERTEST.values(), strict=True):
        found = kenward_roger(fit, row)
        assert found.estimate == pytest.approx(estimate, abs=1e-6)
        assert found.se == pytest.approx(se, rel=1e-5)
        assert found.df == pytest.approx(df, rel=1e-4)


def nested_values(rng, cells, particles=4, regions=3, sd=(1.0, 1.5, 1.0)):
    keys = list(itertools.product(range(cells), range(particles), range(regions)))
    effects = [{} for _ in sd]
    y = np.zeros(len(keys))
    for i, key in enumerate(keys):
        for depth, scale in enumerate(sd):
            name = key[: depth + 1]
            if name not in effects[depth]:
                effects[depth][name] = scale * rng.normal()
            y[i] += effects[depth][name]
    return keys, y


def arms(keys, test):
    arm = np.array([key[0] < test for key in keys], float)
    return np.stack([np.ones(len(keys)), arm], axis=1)


@pytest.mark.parametrize("sd", [(1.0, 1.5, 1.0), (0.0, 1.5, 1.0), (0.0, 0.0, 1.0)])
def test_balanced_data_give_the_t_test_on_cell_means(sd):
    """The cell-mean identity, also where a component is negative."""
    negative = 0
    for seed in range(5):
        keys, y = nested_values(np.random.default_rng([seed, int(10 * sum(sd))]), 6, sd=sd)
        fit = reml(nested_design(keys), y, arms(keys, 3))
        found = kenward_roger(fit, [0, 1])
        means = y.reshape(6, -1).mean(axis=1)
        expected = stats.ttest_ind(means[:3], means[3:])
        assert found.df == pytest.approx(4, rel=1e-6)
        assert found.p_value() == pytest.approx(expected.pvalue, rel=1e-6)
        assert found.interval(0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6)
        negative += fit.variances.min() < 0
    assert negative or sd[0]


def test_balanced_components_are_those_of_the_analysis_of_variance():
    keys, y = nested_values(np.random.default_rng(3), 8)
    fit = reml(nested_design(keys), y, np.ones((len(keys), 1)))
    labels = [[0] * len(keys), *([key[:depth] for key in keys] for depth in (1, 2, 3))]
    moments = nested_components(y, labels, ("cell", "particle", "region"), np.zeros(len(keys)))
    assert min(item.variance for item in moments) > 0
    assert fit.variances == pytest.approx([item.variance for item in moments], rel=1e-6)


def test_unbalanced_components_agree_with_statsmodels():
    import pandas as pd
    import statsmodels.formula.api as smf

    keys, y = nested_values(np.random.default_rng(11), 8)
    keep = [i for i, (c, p, r) in enumerate(keys) if p <= 1 + c % 3 and r <= 1 + (c + p) % 2]
    keys, y = [keys[i] for i in keep], y[keep]
    fit = reml(nested_design(keys), y, arms(keys, 4))
    data = pd.DataFrame({"y": y, "arm": [int(k[0] < 4) for k in keys], "cell": [k[0] for k in keys]})
    data["particle"] = [f"{k[0]}-{k[1]}" for k in keys]
    model = smf.mixedlm(
        "y ~ arm", data, groups="cell", re_formula="1", vc_formula={"particle": "0 + C(particle)"}
    )
    other = model.fit(reml=True, method=["bfgs", "powell"])
    assert fit.variances.min() > 0
    assert fit.variances[0] == pytest.approx(float(other.cov_re.iloc[0, 0]), rel=1e-3)
    assert fit.variances[1:] == pytest.approx([float(other.vcomp[0]), other.scale], rel=1e-3)
    assert fit.beta == pytest.approx(other.fe_params.to_numpy(), rel=1e-4)
    # Their Wald error ignores that the components are estimated; ours is larger.
    assert kenward_roger(fit, [0, 1]).se > np.sqrt(fit.covariance[1, 1])
    assert np.sqrt(fit.covariance[1, 1]) == pytest.approx(other.bse_fe["arm"], rel=1e-3)


def test_many_data_sets_at_once_are_the_same_as_one_by_one():
    rng = np.random.default_rng(5)
    drawn = [nested_values(rng, 5) for _ in range(3)]
    keys = drawn[0][0]
    keep = [i for i, (c, p, _) in enumerate(keys) if p <= c]
    keys = [keys[i] for i in keep]
    ys = np.array([y[keep] for _, y in drawn])
    design, x = nested_design(keys), arms(keys, 2)
    together = kenward_roger(reml(design, ys, x), [0, 1])
    for i, y in enumerate(ys):
        alone = kenward_roger(reml(design, y, x), [0, 1])
        assert alone.estimate == pytest.approx(together.estimate[i], rel=1e-6)
        assert alone.se == pytest.approx(together.se[i], rel=1e-5)
        assert alone.df == pytest.approx(together.df[i], rel=1e-4)


def test_known_measurement_errors_weigh_the_cells():
    """One value a cell: with errors that dwarf all else, the model is the weighted mean."""
    keys = [(c, 0, 0) for c in range(6)]
    errors = np.array([1.0, 1, 1, 1, 1, 100])
    y = np.array([0.9, 1.1, 1.0, 1.05, 0.95, 50.0])
    fit = reml(nested_design(keys), y, np.ones((6, 1)), known=errors**2)
    assert fit.beta[0] < 2


def test_scoring_that_swings_about_the_maximum_settles():
    # One arm with hardly any scatter beside one with much, and particles with one region or two: whole
    # scoring steps cross the maximum again and again, each by 0.93 of the last.
    coated = [
        0.759,
        0.693,
        0.944,
        0.633,
        0.452,
        0.981,
        1.079,
        0.779,
        1.053,
        0.804,
        0.692,
        0.771,
        0.68,
        0.74,
        0.868,
    ]
    limits = [0.089, 0.086, 0.088, 0.084, 0.083, 0.084, 0.115, 0.105, 0.083, 0.079, 0.084, 0.084]
    limits += [0.082, 0.085, 0.085, 0.092, 0.17, 0.084]
    particles = ["aabcd", "aabcd", "aab", "ab"] + ["aab"] * 6
    keys = [(c, p, i) for c, own in enumerate(particles) for i, p in enumerate(own)]
    arm = np.array([1.0] * len(coated) + [0.0] * len(limits))
    fit = reml(nested_design(keys), np.array(coated + limits), np.column_stack([np.ones(arm.size), arm]))
    assert fit.converged
    assert (fit.variances > 0).all()
    means = [np.mean(coated[:5]), np.mean(coated[5:10]), np.mean(coated[10:13]), np.mean(coated[13:])]
    found = kenward_roger(fit, [0.0, 1.0])
    assert found.estimate == pytest.approx(np.mean(means) - np.mean(limits), abs=0.03)
