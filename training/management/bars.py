"""How far a command is, on stderr."""


class Bars:
    """One bar a stage on stderr, with what is left of its time."""

    def __init__(self, *, shown: bool) -> None:
        self._shown, self._bar, self._stage = shown, None, ""

    def __call__(self, stage: str, done: int, total: int, tokens: int = 0) -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(total=total, initial=done, desc=stage, unit="row", disable=not self._shown)
        self._bar.update(done - self._bar.n)
        if tokens:
            self._bar.set_postfix_str(f"{tokens / max(0.001, self._bar.format_dict['elapsed']):.0f} tokens/s")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
