"""How far a conversion is: a bar on a terminal, a line a minute elsewhere."""

import time

_EVERY, _REFRESH = 60.0, 0.2  # seconds between two lines, and between two pictures of the bar


class ConversionProgress:
    """Count, structures a second and the time that is left, from the share of the input that is done."""

    def __init__(self, console):
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.percentage:.0f}%"), BarColumn(), TextColumn("{task.fields[text]}"))
        self.console = console
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=1.0, text="reading")
        self.began = self.shown = time.monotonic()
        self.first: tuple[float, int] | None = None  # share and count that an earlier conversion left
        self.done, self.structures = 0.0, 0

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def count(self, structures: int) -> None:
        """So many structures are in the store."""
        if self.first is not None and self.first[1] < 0:
            self.first = self.first[0], structures - 1
        self.structures = structures
        if time.monotonic() - self.shown > (_REFRESH if self.console.is_terminal else _EVERY):
            self._show()

    def share(self, done: float) -> None:
        """So much of the input is read; the first call says what an earlier conversion did of it."""
        if self.first is None:
            self.first = done, -1
            if done:
                self.console.print(f"continuing an earlier conversion: {done:.0%} of the input has been read")
        self.done = done

    def text(self) -> str:
        """One line."""
        seconds = time.monotonic() - self.began
        before, known = self.first or (0.0, 0)
        rate = (self.structures - max(known, 0)) / max(seconds, 1e-9)
        parts = [f"{self.structures} structures", f"{rate:.0f} a second"]
        if self.done > before:
            parts.append(f"{_clock(seconds * (1 - self.done) / (self.done - before))} left")
        return ", ".join(parts)

    def _show(self) -> None:
        self.shown = time.monotonic()
        if self.console.is_terminal:
            self.bar.update(self.task, completed=self.done, text=self.text())
        else:
            self.console.print(f"{self.done:.0%}: {self.text()}", highlight=False)
            self.console.file.flush()


def _clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
