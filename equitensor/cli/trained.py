"""Models on the command line: how they are named, what they were trained on."""

MODEL_HELP = "a model file, or by its name one that comes with equitensor: organics"


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
                f"equitensor: warning: {model} was not trained on {label}: what follows from its {label} is a guess. "
                f"Train with labels of {label}, and loss.{label} above 0",
                file=sys.stderr,
            )
