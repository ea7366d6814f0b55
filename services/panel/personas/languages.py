"""The languages that a multilingual Whisper hears, by their codes."""

from __future__ import annotations

# Those that most boxes need first.
LANGUAGES: dict[str, str] = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian",
    "pt": "Portuguese", "nl": "Dutch", "pl": "Polish", "ru": "Russian", "uk": "Ukrainian",
    "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "ar": "Arabic", "hi": "Hindi", "tr": "Turkish",
    "af": "Afrikaans", "sq": "Albanian", "am": "Amharic", "as": "Assamese", "ba": "Bashkir",
    "br": "Breton", "yue": "Cantonese", "fo": "Faroese", "ht": "Haitian Creole", "ha": "Hausa",
    "haw": "Hawaiian", "jw": "Javanese", "ln": "Lingala", "mg": "Malagasy", "sn": "Shona",
    "tk": "Turkmen", "hy": "Armenian", "az": "Azerbaijani", "eu": "Basque",
    "be": "Belarusian", "bn": "Bengali", "bs": "Bosnian", "bg": "Bulgarian", "my": "Burmese",
    "ca": "Catalan", "hr": "Croatian", "cs": "Czech", "da": "Danish", "et": "Estonian",
    "fi": "Finnish", "gl": "Galician", "ka": "Georgian", "el": "Greek", "gu": "Gujarati",
    "he": "Hebrew", "hu": "Hungarian", "is": "Icelandic", "id": "Indonesian", "kn": "Kannada",
    "kk": "Kazakh", "km": "Khmer", "lo": "Lao", "la": "Latin", "lv": "Latvian", "lt": "Lithuanian",
    "lb": "Luxembourgish", "mk": "Macedonian", "ms": "Malay", "ml": "Malayalam", "mt": "Maltese",
    "mi": "Maori", "mr": "Marathi", "mn": "Mongolian", "ne": "Nepali", "no": "Norwegian",
    "nn": "Nynorsk", "oc": "Occitan", "ps": "Pashto", "fa": "Persian", "pa": "Punjabi",
    "ro": "Romanian", "sa": "Sanskrit", "sr": "Serbian", "sd": "Sindhi", "si": "Sinhala",
    "sk": "Slovak", "sl": "Slovenian", "so": "Somali", "su": "Sundanese", "sw": "Swahili",
    "sv": "Swedish", "tl": "Tagalog", "tg": "Tajik", "ta": "Tamil", "tt": "Tatar", "te": "Telugu",
    "th": "Thai", "bo": "Tibetan", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese", "cy": "Welsh",
    "yi": "Yiddish", "yo": "Yoruba",
}  # fmt: skip
