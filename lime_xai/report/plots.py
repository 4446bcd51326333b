"""Figures as methods of an explained answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from lime_xai.attribution.sheet import Columns, ShownFigure

    from .answer import ExplainedAnswer


StepMeasure = Literal["objective", "relevance"]


class Plots:
    """Base of ``ExplainedAnswer``: its figures.

    All are as wide as one or two columns of a page (3.3 or 6.9 inches), embed their fonts, and are shown by a notebook
    as the last line of a cell. ``figure.save("name.pdf")`` also writes the numbers behind the figure, ``name.csv``;
    ``figure.to_frame()`` returns them. A word is given by its number or its text; by default it is the one with the
    lowest grounding.
    """

    @property
    def _answer(self) -> ExplainedAnswer:
        return cast("ExplainedAnswer", self)

    def plot(self, word: int | str | None = None, *, columns: Columns = 2, events: Any = None) -> ShownFigure:
        """Return a figure of a word: maps on what the model received, and the words before it as bars.

        ``events`` are drawn on the sounds, as in ``plot_sound``.

        Raises
        ------
        TypeError, IndexError, ValueError
            If the answer has no such word, for another width, or for events that do not fit the sounds.
        """
        from .figures import word_figure  # matplotlib is slow to import

        return word_figure(self._answer, self._answer.word_index(word), columns, events)

    def plot_words(self, *, columns: Columns = 2) -> ShownFigure:
        """Return a figure of all words: the shares of images, sounds and text as stacked bars, and grounding below."""
        from .overviews import words_figure

        return words_figure(self._answer, columns)

    def plot_matrix(self, *, columns: Columns = 2) -> ShownFigure:
        """Return a matrix of words by inputs: images, videos and sounds, words of the prompt, words of the answer.

        Of long texts, the inputs with the largest relevance have a column each, and the sum of the others one.
        """
        from .overviews import matrix_figure

        return matrix_figure(self._answer, columns)

    def plot_before_after(self, word: int | str | None = None, *, columns: Columns = 2) -> ShownFigure:
        """Return a word in the answers without and with the policies, beside each other, with one scale.

        The word of the answer without the policies is the same text that is nearest; where that answer does not say
        it, the word in its place.

        Raises
        ------
        ValueError
            If the answer was made without a policy, or without comparing.
        TypeError, IndexError
            If the answer has no such word.
        """
        from .figures import before_after_figure

        return before_after_figure(self._answer, self._answer.word_index(word), columns)

    def plot_steps(self, measure: StepMeasure = "objective", *, columns: Columns = 1) -> ShownFigure:
        """Return what an edit noted over its update steps, one curve per token (figure 3 of the paper).

        Parameters
        ----------
        measure : {"objective", "relevance"}
            The objective, or the perceptual share of the absolute relevance, which ``Edit`` notes in backward direction
            only.
        columns : int
            Of a page: 1 or 2.

        Raises
        ------
        ValueError
            For another measure; if no policy noted it.
        """
        from .curves import steps_figure

        return steps_figure(self._answer, columns, measure)

    def plot_sound(
        self,
        word: int | str | None = None,
        *,
        events: Any = None,
        columns: Columns = 2,
    ) -> ShownFigure:
        """Return the sounds, spectrogram or waveform, with the relevance of a word over time (figure 4 of the paper).

        Parameters
        ----------
        word : int or str, optional
            Of the answer.
        events : mapping or sequence, optional
            What sounds when, in seconds (feature frames where these are not known): ``{"dog": (0.5, 1.2), "bell":
            [(0.1, 0.4), (2.0, 2.4)]}``, or ``[(0.5, 1.2, "dog"), ...]``. For a prompt with several sounds, a list of
            these, None for a sound without. Their bounds are drawn; events that overlap have bars in lanes of their
            own. A line says which share of the sound's positive relevance lies in each.
        columns : int
            Of a page: 1 or 2.

        Raises
        ------
        ValueError
            If there is no sound of known layout; for other events, and for events that go on behind the sound.
        TypeError, IndexError
            If the answer has no such word.
        """
        from .curves import sound_figure

        return sound_figure(self._answer, self._answer.word_index(word), events, columns)
