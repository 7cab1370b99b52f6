"""Methods, or one's own rules, side by side: on one's own model and data, over seeds.

    study = ta.studies.Study(
        build=functools.partial(ta.models.resnet, 20),
        data="cifar10",
        variants=["backprop", "fa", "sa", MyRule(), ta.studies.Variant("slow", "fa", epochs=20)],
        epochs=10,
        batch_size=128,
        seeds=3,
        tuning={"learning_rate": (0.01, 0.03, 0.1)},
    )
    results = study.run("results/mine")
    print(results.table())
    results.report("results/mine/report.html")

**Shape.** A study is a table of runs: cases (models) x variants (methods) x seeds. A run is a
process of its own, described by a JSON file, and its result is another JSON file. A second call of
`run` makes the runs that are missing; a run that was killed goes on from its last epoch
(`ta.callbacks.Resume`).

    Study      the question: build, data, variants, how to compile, epochs, seeds, tuning
    Case       a model with data and settings of its own, where a study has several
    Variant    a row of the table: a method, and what is different for it
    Tuning     which settings are searched, with how many trials for every variant
    Run        what functions of a study get: the model, the seed, the steps, the settings
    Results    the answer: table, differences to a baseline, figures, report

**Functions.** What differs from run to run is a function of a `Run`: `optimizer`, `phases`,
`callbacks`, `measure`, `finish`, `prepare` and `data`. A class in the place of such a function is
constructed instead (`functools.partial(ta.phases.SAL, steps=2000)`), with the run's seed if it
takes one.
Runs are processes of their own, so functions, classes and rules are kept by name and found again by
the file they are in: they have to be at the top of a module or script. `build` may be anything that
can be called, since the models it makes are saved.

**Equal starts.** The model of a seed is built once and saved; every variant of that seed starts
from this file and sees the same batches in the same order.

**Kept by what it depends on.** A result's name ends in a digest of all that decides it: model and
weights, method and its source code, data, optimizer, epochs, seed, the versions of this library,
Keras and TensorFlow. Change one of them, and the run is another one.

On the command line: `python -m tf_alignment study --help`.
"""

from tf_alignment.studies.optimizers import sgd
from tf_alignment.studies.results import Results
from tf_alignment.studies.study import Study
from tf_alignment.studies.tuning import Tuning
from tf_alignment.studies.variants import Case, Run, Variant

__all__ = ["Case", "Results", "Run", "Study", "Tuning", "Variant", "sgd"]
