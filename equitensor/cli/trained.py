"""Models on the command line: how they are named, what they were trained on."""

MODEL_HELP = "a model file, or the name of a model that comes with equitensor: organics"
STRUCTURE_HELP = "a file that ASE reads, or any data: its last frame, or FILE@3 for the one with index 3"


def warn_untrained(model, *labels: str) -> None:
    """A line on stderr for each of the labels (energy, forces, stress) that a model file was not trained on.

    Files that do not say what they were trained on are taken as they are.
    """
    import sys

    from equitensor.models import read_header

    trained = read_header(model)["provenance"].get("labels")
    for label in labels if trained is not None else ():
        if label not in trained:
            print(
                f"equitensor: warning: {model} was not trained on {label}: what depends on its {label} is unreliable. "
                f"Train with labels of {label}, and loss.{label} above 0",
                file=sys.stderr,
            )
