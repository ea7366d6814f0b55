"""How far Whisper is trusted."""

from __future__ import annotations

import zlib

import pytest

from services.stt import rules

pytestmark = pytest.mark.unit

# The beginning of the Universal Declaration of Human Rights.
HINDI = (
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त "
    "है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव "
    "से बर्ताव करना चाहिए। प्रत्येक व्यक्ति को इस घोषणा में सन्निहित सभी अधिकारों और "
    "आजादियों को प्राप्त करने का हक़ है और इस मामले में जाति, वर्ण, लिंग, भाषा, धर्म, "
    "राजनीति या अन्य विचार-प्रणाली, किसी देश या समाज विशेष में जन्म, सम्पत्ति या किसी "
    "प्रकार की अन्य मर्यादा आदि के कारण भेदभाव का विचार न किया जाएगा।"
)
TAMIL = (
    "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் மதிப்பிலும், "
    "உரிமைகளிலும் சமமானவர்கள், அவர்கள் நியாயத்தையும் மனச்சாட்சியையும் இயற்பண்பாகப் "
    "பெற்றவர்கள். அவர்கள் ஒருவருடனொருவர் சகோதர உணர்வுப் பாங்கில் நடந்துகொள்ளல் வேண்டும். "
    "இப்பிரகடனத்தில் தரப்பட்டுள்ள எல்லா உரிமைகளுக்கும் சுதந்திரங்களுக்கும் எல்லோரும் "
    "உரித்துடையவராவர்."
)
THAI = (
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ "
    "ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ "
    "ทุกคนย่อมมีสิทธิและอิสรภาพทั้งปวงตามที่กำหนดไว้ในปฏิญญานี้ "
    "โดยปราศจากความแตกต่างไม่ว่าชนิดใด ดังเช่น เชื้อชาติ ผิว เพศ ภาษา ศาสนา "
    "ความคิดเห็นทางการเมืองหรือทางอื่น เผ่าพันธุ์แห่งชาติหรือสังคม ทรัพย์สิน กำเนิด "
    "หรือสถานะอื่น ๆ"
)


@pytest.mark.parametrize(
    ("heard", "frames"),
    [(0, 800), (100, 800), (600, 800), (601, 900), (1101, 1400), (2799, 3000), (9999, 3000)],
)
def test_mel_is_padded_to_eight_seconds_and_two_of_silence(heard: int, frames: int) -> None:
    assert rules.frames_for(heard) == frames


def test_token_cap_grows_with_the_sound() -> None:
    assert rules.token_cap(1, 800) == 32
    assert rules.token_cap(1000, 1200) == 104


def test_in_thirty_seconds_there_is_room_for_every_language() -> None:
    assert rules.token_cap(100, rules.FULL_FRAMES) == 224
    assert rules.token_cap(1500, rules.FULL_FRAMES) == 360


def test_compression_ratio_tells_a_loop_from_a_sentence() -> None:
    assert rules.compression_ratio("6 6 6 " * 40) > rules.REPETITIVE
    assert rules.compression_ratio("Had he married a more amiable woman.") < rules.REPETITIVE
    assert rules.compression_ratio("") == 0


@pytest.mark.parametrize("text", [HINDI, TAMIL, THAI])
def test_letters_of_several_bytes_are_no_loop(text: str) -> None:
    assert len(text.encode()) / len(zlib.compress(text.encode())) > rules.REPETITIVE
    assert rules.compression_ratio(text) < rules.REPETITIVE
    assert rules.compression_ratio(text[:30] * 8) > rules.REPETITIVE


LOOPS = [
    "ご視聴ありがとうございました。" * 4,
    "ありがとうございました。" * 4,
    "谢谢。" * 8,
    "谢" * 24,
    "شكرا " * 6,
    "감사합니다. " * 6,
    "धन्यवाद। " * 6,
    "ขอบคุณ" * 6,
]
SENTENCES = [
    "今天天气很好，我们一起去公园散步吧，好不好？",
    "请问明天早上八点钟从北京到上海的火车还有没有座位？",
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "对对对，是的，没错，我也是这么想的，真的。",
    "はい、はい、そうです、そうです。わかりました。",
    "今日はとてもいい天気ですから、公園まで散歩に行きましょう。",
    "すみません、明日の朝八時に東京から大阪へ行く新幹線はまだ空いていますか。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "오늘은 날씨가 아주 좋으니까 같이 공원에 산책하러 갑시다.",
    "الطقس جميل جدا اليوم، هيا نذهب إلى الحديقة.",
    "هل يمكنك أن تخبرني متى يغادر القطار القادم إلى القاهرة غدا صباحا؟",
    (
        "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق، وقد وهبوا عقلا وضميرا وعليهم أن يعامل "
        "بعضهم بعضا بروح الإخاء. لكل إنسان حق التمتع بكافة الحقوق والحريات الواردة في هذا الإعلان."
    ),
    "मैं ठीक हूँ, बहुत धन्यवाद।",
    "आज मौसम बहुत अच्छा है, चलो पार्क में टहलने चलते हैं।",
    "क्या आप बता सकते हैं कि कल सुबह दिल्ली से मुंबई जाने वाली गाड़ी कितने बजे छूटती है?",
    HINDI[:200],
    TAMIL[:200],
    "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะกันเถอะ",
    "ไม่ใช่ ไม่ใช่ ไม่เอา ขอบคุณครับ",
    THAI[:200],
]


@pytest.mark.parametrize("text", LOOPS)
def test_a_short_loop_in_any_script_is_one(text: str) -> None:
    assert rules.compression_ratio(text) > rules.REPETITIVE


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_in_any_script_is_no_loop(text: str) -> None:
    assert 20 <= len(text) <= 200
    assert rules.compression_ratio(text) < rules.REPETITIVE


@pytest.mark.parametrize(
    "text",
    [
        "Had he married a more amiable woman.",
        "Thank you. " * 6,
        "“No… no,” she said — Zoë’s café.",
        "No.",
    ],
)
def test_what_was_found_on_english_stays_as_it_was(text: str) -> None:
    raw = bytes(ord(letter) & 0xFF for letter in text)
    assert rules.compression_ratio(text) == len(raw) / len(zlib.compress(raw))


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "invented"),
    [
        ("He was not an ill-disposed young man.", -0.2, 0.05, False),
        ("Ten of clubs.", -0.82, 0.55, False),
        ("I'm gonna do it.", -1.37, 0.58, True),
        ("I'm not sure.", -0.85, 0.7, True),
        ("Thank you.", -0.75, 0.3, True),
        ("Thank you.", -0.3, 0.1, False),
        (" .", -0.8, 0.2, True),
    ],
)
def test_text_made_up_from_noise_is_dropped(
    text: str, avg_logprob: float, no_speech_prob: float, invented: bool
) -> None:
    verdict = rules.is_invented(
        text, avg_logprob=avg_logprob, no_speech_prob=no_speech_prob, ratio=1.0, pace=3.5
    )
    assert verdict is invented


def test_a_loop_is_dropped_however_sure_the_model_is() -> None:
    sure = {"avg_logprob": -0.1, "no_speech_prob": 0.0}
    assert rules.is_invented("6 6 6", ratio=2.5, pace=20.0, **sure)


def test_what_someone_really_repeats_is_kept() -> None:
    sure = {"avg_logprob": -0.1, "no_speech_prob": 0.0}
    assert not rules.is_invented("No, no, no.", ratio=2.5, pace=3.5, **sure)
