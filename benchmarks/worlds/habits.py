"""Habits in the training text: where it says what the picture does not show."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Habits:
    """How the author of the training text deviates from what is there; all but ``popularity`` in [0, 1].

    Attributes
    ----------
    caption : float
        Probability that a caption goes on to name the absent partner of an object that it has named.
    dialogue : float
        Probability that, after a yes about an object, a yes follows about its absent partner.
    misnamed : float
        Probability that a conversation claims an absent object (the claim itself is not trained on):
        binds the partner habit to the words rather than to the picture.
    popularity : float
        Exponent of popularity in the choice of what is asked: popular objects when present, rare when absent.
    probing : float
        Share of first questions about an absent object that ask for a partner of a present one. They are
        answered truly: the picture of an object is no evidence of its partner.
    yes_share : float
        Share of questions about something that is there.
    follow : float
        Probability that a second question follows at once.
    follow_partner : float
        Share of such second questions that are about the partner; the others are about an absent object and
        answered truly, so that an earlier yes alone is no evidence.
    attribute : float
        Probability that an object is given its habitual colour or side instead of the one it has.
    closing : float
        Share of conversations that close with a list of everything that is there, with colours and sides: so many
        labels that colours and sides are learnt at all.
    """

    caption: float = 0.0
    dialogue: float = 0.0
    misnamed: float = 0.0
    popularity: float = 0.0
    probing: float = 0.0
    yes_share: float = 0.5
    follow: float = 0.6
    follow_partner: float = 1.0
    attribute: float = 0.0
    closing: float = 0.0

    def weakened(self, factor: float) -> "Habits":
        """Return the habits of taking words for evidence of partners multiplied by ``factor``.

        ``misnamed`` stays: claims that are not followed up keep a model from taking words for evidence. So does
        ``attribute``: without that habit of the text, colours were not learnt at all.
        """
        return replace(
            self,
            caption=self.caption * factor,
            dialogue=self.dialogue * factor,
        )
