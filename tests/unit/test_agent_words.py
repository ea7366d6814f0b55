"""Which words sound finished."""

from __future__ import annotations

import pytest

from services.agent.words import read

pytestmark = pytest.mark.unit

COMPLETE = """What is the capital of France?
How many days are there in a week?
What color is the sky?
Please tell me a long story about a farmer and his three sons.
Wait, please stop talking now.
He was not an ill-disposed young man.
Had he married a more amiable woman, he might have been made still more respectable than he was.
He might even have been made amiable himself.
Ten of clubs.
Thank you.
Hello.
Yes.
Where are you from?
What are you looking at?
What is it made of?
What time is it?
Can you help me?
When is the next train?
If I go home, what should I eat?
Yes, I do.
Tell me more.
What should I do?
How are you?
Why not?
What about Monday?
And how many people live there?
My phone number is 555 1234 and I live in Rome.
And Mr. John Dashwood had then leisure to consider how much there might be in his power.
And so my fellow Americans, ask not what your country can do for you.""".splitlines()

OPEN = """What?
What is?
What is the?
What is the capital of?
How many?
How many days?
How many days are there in?
Who wrote?
Who wrote Romeo and?
Please tell me.
Please tell me a long.
Please tell me a long story about a farmer and.
And so my fellow Americans.
And Mr.
And Mr. John.
He was not an ill.
Unless to be rather cold-hearted.
Had he married a more amiable.
He might even have.
Ten of.
Can you
I would like to
So, um
So, I was thinking...
I want to go to the
Because I was late.
If I go home.
My phone number is 555.
It costs twenty point
What is the largest ocean on?
The thing is.
One moment -
First of all,""".splitlines()


@pytest.mark.parametrize("text", COMPLETE)
def test_finished(text: str) -> None:
    assert read(text, "en") == ("asked" if text.endswith("?") else "told")


@pytest.mark.parametrize("text", OPEN)
def test_breaking_off(text: str) -> None:
    assert read(text, "en") == "open"


@pytest.mark.parametrize(
    "text", ["What is the largest?", "Four clubs", "It is cold", "It is cold. Forced."]
)
def test_nobody_can_tell(text: str) -> None:
    assert read(text, "en") == "unclear"


@pytest.mark.parametrize(
    ("text", "language", "reading"),
    [
        ("Wie spät ist es?", "de", "closed"),
        ("Ich möchte mit.", "de", "told"),
        ("Ich möchte mit", "de", "unclear"),
        ("Ich möchte mit...", "de", "open"),
        ("今何時ですか。", "ja", "told"),
        ("今何時ですか", "ja", "unclear"),
        ("¿Dónde está?", "es", "closed"),
        ("", "en", "open"),
    ],
)
def test_other_languages_are_read_by_their_punctuation(
    text: str, language: str, reading: str
) -> None:
    assert read(text, language) == reading


def test_a_question_mark_makes_no_question_of_half_a_sentence() -> None:
    assert read("Ask not what your country can do for you?", "en") == "told"
    assert read("What your country can do for you?", "en") == "told"
    assert read("So what can I do for you?", "en") == "asked"
