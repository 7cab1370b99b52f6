"""Studies: comparisons of methods, or of your own rules, on any model and data, over seeds.

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

**Structure.** A study is a table of runs: cases (models) x variants (methods) x seeds. Each run is
a separate process; its task is described in one JSON file, and its result is written to another. A
second call of `run` makes the runs that are missing. A run that was killed continues from its last
epoch (`ta.callbacks.Resume`).

    Study      the question: build, data, variants, arguments of compile, epochs, seeds, tuning
    Case       one of several models of a study, with its own data and settings
    Variant    a row of the table: a method and its own settings
    Tuning     the settings that are searched, and the number of trials for every variant
    Run        the argument of a study's functions: model, seed, steps, settings
    Results    the answer: table, differences to a baseline, figures, report

**Functions.** Arguments that may differ between runs can be functions of a `Run`: `optimizer`,
`phases`, `callbacks`, `measure`, `finish`, `prepare` and `data`. A class in place of such a
function is constructed (`functools.partial(ta.phases.SAL, steps=2000)`), with the run's seed if it
has such an argument. Since runs are separate processes, functions, classes and rules are stored by
name and by the file that defines them: they must be defined at the top level of a module or script.
`build` may be any callable, since its models are saved.

**Equal starts.** The model of a seed is built once and saved; every variant with that seed starts
from this file and sees the same batches in the same order.

**Results by digest.** The name of a result ends in a digest of everything that determines it: model
and weights, method and its source code, data, optimizer, epochs, seed, and the versions of this
library, Keras and TensorFlow. If one of them changes, a new run is made.

On the command line: `python -m tf_alignment study --help`.
"""

from tf_alignment.studies.optimizers import sgd
from tf_alignment.studies.results import Results
from tf_alignment.studies.study import Study
from tf_alignment.studies.tuning import Tuning
from tf_alignment.studies.variants import Case, Run, Variant

__all__ = ["Case", "Results", "Run", "Study", "Tuning", "Variant", "sgd"]
