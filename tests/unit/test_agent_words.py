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
And so my fellow Americans, ask not what your country can do for you.
Can you tell me the time, please?
Could you help me, please?
Tell me a joke, please.
Turn it off please.
Stop, please.
Yes, please.
No, please.
Wait, please.
A cup of tea, please.
What's the weather like?
What would you like?
Tell me what it looks like.
I'm not feeling well.
I'm well.
Are you well?
Turn the lights on.
Turn it on.
Put some music on.
Leave the light on.
Let the cat in.
Please come in.
The game is over.
Can you turn the light on?
Could you leave the radio on, please?
What is this movie about?
What are these pills for?
Where is this wine from?
What are you up to?
It's cold, isn't it?
It's cold isn't it?
You are open today, aren't you?
You don't know, do you?
That's not right, is it?
The shop isn't open, is it?
What's your name?
What's the capital of France?
Where\u2019s the station?
Who's there?
How's the weather?
What's going on?
What's it made of?
What'll it cost?
Hello. What's the time, please?""".splitlines()

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
First of all,
How many
I would like.
I'd like to, please.
What I would like.
What is like?
I want to go to the.
What's
What's the?
What's the capital of?
What's the weather in?
Turn the lights on
Turn on.
Turn left on.
Put milk on.
Can you put milk on?
Keep an eye on.
Let me know in.
I want to go on.
Is there a bank in?
What time is the train from?
What is the word for?
Which restaurants are open on?
Could you please?
Please.
Sam, please.
Excuse me, please.
Oh, well.
It was, well.
It was as well.
It's.
Excuse me, can you?
I don't know, is it?
Tell me, isn't it?
If I go home, can I?""".splitlines()


@pytest.mark.parametrize("text", COMPLETE)
def test_finished(text: str) -> None:
    assert read(text, "en") == ("asked" if text.endswith("?") else "told")


@pytest.mark.parametrize("text", OPEN)
def test_breaking_off(text: str) -> None:
    assert read(text, "en") == "open"


@pytest.mark.parametrize(
    "text",
    [
        "Is the doctor in?",
        "Are the lights still on?",
        "What's the movie about?",
        "What channel is the game on?",
    ],
)
def test_a_question_that_could_go_on_waits_as_a_statement_does(text: str) -> None:
    assert read(text, "en") == "told"


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
