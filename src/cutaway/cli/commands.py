"""The table of commands: for each its words, its settings and what it calls.

Both are named as "module:name" and imported when the command is chosen, so that `cutaway --help`
answers at once. To add a study: one line here; its function takes (settings, show, tell) and gives
a `FinishedRun`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command: its words, one line about it, its settings class, and what it calls."""

    words: str
    summary: str
    settings: str
    """module:class"""
    calls: str
    """module:function; of a study (settings, show, tell) -> FinishedRun, else (settings, console)
    -> None."""
    is_study: bool = True


_MEASUREMENT = "cutaway.experiments.measurements.run:run_measurement"

COMMANDS = (
    Command(
        "run ioi",
        "indirect object identification: which heads do it",
        "cutaway.experiments.ioi.settings:IOISettings",
        "cutaway.experiments.ioi.run:run_ioi",
    ),
    Command(
        "run circuit",
        "find a circuit by several methods, and test it",
        "cutaway.experiments.circuit_study.settings:CircuitStudySettings",
        "cutaway.experiments.circuit_study.run:run_circuit",
    ),
    Command(
        "run emergence",
        "train small models, and watch induction heads form",
        "cutaway.experiments.emergence.settings:EmergenceSettings",
        "cutaway.experiments.emergence.run:run_emergence",
    ),
    Command(
        "run shakespeare",
        "small models of Shakespeare: all findings, measured",
        "cutaway.experiments.shakespeare.settings:ShakespeareSettings",
        "cutaway.experiments.shakespeare.run:run_shakespeare",
    ),
    Command(
        "run superposition",
        "toy models: more features than dimensions",
        "cutaway.experiments.superposition.settings:SuperpositionSettings",
        "cutaway.experiments.superposition.run:run_superposition",
    ),
    Command(
        "run sae",
        "dictionaries, and the features that carry an answer",
        "cutaway.experiments.sae_study.settings:SaeStudySettings",
        "cutaway.experiments.sae_study.run:run_sae",
    ),
    Command(
        "attention",
        "see where the heads look on a text",
        "cutaway.experiments.attention.settings:AttentionSettings",
        "cutaway.experiments.attention.run:run_attention",
    ),
    Command(
        "heads",
        "what each head looks at, copies and does",
        "cutaway.experiments.heads.settings:HeadsSettings",
        "cutaway.experiments.heads.run:run_heads",
    ),
    Command(
        "lens",
        "read what each layer would predict",
        "cutaway.experiments.lens.settings:LensSettings",
        "cutaway.experiments.lens.run:run_lens",
    ),
    Command(
        "probe",
        "what can be read where, and is it used?",
        "cutaway.experiments.probes.settings:ProbeStudySettings",
        "cutaway.experiments.probes.run:run_probe",
    ),
    Command(
        "steer",
        "push it to another answer, and see what it costs",
        "cutaway.experiments.steering.settings:SteerSettings",
        "cutaway.experiments.steering.run:run_steer",
    ),
    Command(
        "glitch",
        "undertrained tokens: find, verify and trace them",
        "cutaway.experiments.glitch.settings:GlitchSettings",
        "cutaway.experiments.glitch.run:run_glitch",
    ),
    Command(
        "patch",
        "replace each head, layer or neuron, exactly",
        "cutaway.experiments.measurements.settings:PatchSettings",
        _MEASUREMENT,
    ),
    Command(
        "paths",
        "patch the paths from senders to receivers, exactly",
        "cutaway.experiments.measurements.settings:PathsSettings",
        _MEASUREMENT,
    ),
    Command(
        "edges",
        "patch every edge between two parts, exactly",
        "cutaway.experiments.measurements.settings:EdgesSettings",
        _MEASUREMENT,
    ),
    Command(
        "attribute",
        "estimate by gradients what patching would do",
        "cutaway.experiments.measurements.settings:AttributeSettings",
        _MEASUREMENT,
    ),
    Command(
        "circuit discover",
        "look for the circuit of a task by one method",
        "cutaway.experiments.circuits.settings:DiscoverSettings",
        "cutaway.experiments.circuits.discover:run_discover",
    ),
    Command(
        "circuit evaluate",
        "run a circuit alone: faithful, complete, minimal?",
        "cutaway.experiments.circuits.settings:EvaluateSettings",
        "cutaway.experiments.circuits.evaluate:run_evaluate",
    ),
    Command(
        "circuit compare",
        "a circuit beside another, or a published one",
        "cutaway.experiments.circuits.settings:CompareSettings",
        "cutaway.experiments.circuits.compare:run_compare",
    ),
    Command(
        "circuit draw",
        "draw a circuit",
        "cutaway.experiments.circuits.settings:DrawSettings",
        "cutaway.experiments.circuits.draw:run_draw",
        is_study=False,
    ),
    Command(
        "sae train",
        "dictionaries of features; stopped, it goes on",
        "cutaway.experiments.dictionaries.train_settings:SaeTrainSettings",
        "cutaway.cli.dictionaries:train",
        is_study=False,
    ),
    Command(
        "sae eval",
        "how good a dictionary is, beside its baselines",
        "cutaway.experiments.dictionaries.evaluate_settings:EvaluateDictionarySettings",
        "cutaway.experiments.dictionaries.evaluate:run_evaluate",
    ),
    Command(
        "sae recover",
        "train dictionaries where the features are known",
        "cutaway.experiments.dictionaries.recover_settings:RecoverSettings",
        "cutaway.experiments.dictionaries.recover:run_recover",
    ),
    Command(
        "sae convert",
        "a dictionary for SAELens or sparsify, or from them",
        "cutaway.experiments.dictionaries.convert_settings:ConvertSettings",
        "cutaway.experiments.dictionaries.convert:run_convert",
        is_study=False,
    ),
    Command(
        "sae features",
        "every feature of a dictionary, on one page",
        "cutaway.experiments.dictionaries.features_settings:FeaturesSettings",
        "cutaway.experiments.dictionaries.features:run_features",
    ),
    Command(
        "calibrate heads",
        "set the thresholds that heads are named by",
        "cutaway.experiments.heads.settings:CalibrateHeadsSettings",
        "cutaway.cli.head_thresholds:calibrate",
        is_study=False,
    ),
    Command(
        "calibrate",
        "try every method on circuits that are known",
        "cutaway.experiments.calibrate.settings:CalibrateSettings",
        "cutaway.experiments.calibrate.run:run_calibrate",
    ),
    Command(
        "audit kv",
        "the bytes that caches hold, and what fits",
        "cutaway.experiments.audit.settings:AuditKvSettings",
        "cutaway.experiments.audit.run:run_audit",
    ),
    Command(
        "train",
        "train a small model; stopped, it goes on",
        "cutaway.experiments.training.settings:TrainCommandSettings",
        "cutaway.cli.studies:train",
        is_study=False,
    ),
    Command(
        "runs",
        "list past runs",
        "cutaway.cli.records:RunsSettings",
        "cutaway.cli.records:list_runs",
        is_study=False,
    ),
    Command(
        "show",
        "open a run's report",
        "cutaway.cli.records:ShowSettings",
        "cutaway.cli.records:show_run",
        is_study=False,
    ),
    Command(
        "predictions",
        "what was predicted, what came, and how well",
        "cutaway.cli.records:PredictionsSettings",
        "cutaway.cli.records:show_predictions",
        is_study=False,
    ),
)
