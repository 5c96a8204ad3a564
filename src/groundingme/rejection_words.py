"""Rejections, refusals and errors in words, in the languages that the models speak.

A *rejection* says that nothing in the picture matches. A *refusal* says that the model will not or
cannot do the work, which tells nothing about the picture. Both are looked for only at the end of a
reply (`REACH`), so the time does not grow with its length, and only in whole statements: "no
handle" is no rejection, "no matching object" is one.
"""

from __future__ import annotations

import re

REACH = 2000
"""Characters at the end of a reply that are searched for words."""

_THING = (
    r"(?:objects?|items?|instances?|targets?|entit(?:y|ies)|elements?|things?|regions?|matche?s?|"
    r"candidates?|bounding box(?:es)?|box(?:es)?|results?|one|people|persons?|animals?|vehicles?)"
)
_IMAGE = (
    r"(?:(?:given|provided|whole|entire|current) )?(?:image|picture|photo(?:graph)?|scene|view)"
)
_FIT = (
    r"(?:match|correspond|fit|satisf|meet|found|exist|present|visible|detected|identified|located|"
    rf"available|describ|in (?:the|this) {_IMAGE})"
)
_CANNOT = (
    r"(?:can ?not|can['’]?t|could ?n['’]?t|could not|unable to|not able to|did ?n['’]?t|did not|"
    r"do not|don['’]?t|failed to|impossible to)"
)
_NOT = r"(?:not|n['’]t)"

_ENGLISH = (
    r"\bno match(?:ing|es)?\b",
    r"\bno (?:such|corresponding) [\w'-]+",
    rf"\b(?:no|not any|not a single) (?:[\w'-]+ ){{0,4}}?{_THING}\b[^.!?\n]{{0,80}}?\b{_FIT}",
    rf"\bno [\w' -]{{1,80}}? (?:in|within|anywhere in) (?:the|this) {_IMAGE}\b",
    rf"\b(?:nothing|none)\b[^.!?\n]{{0,60}}?\b{_FIT}",
    rf"\b{_CANNOT} (?:be )?(?:find|found|locate|located|spot|spotted|detect|detected)\b",
    rf"\b{_CANNOT} (?:be )?(?:identif(?:y|ied)|see|seen) (?:any|an?|such|one|in)\b"
    r"(?! (?:image|picture|photo|person['’]s))",
    rf"{_NOT} (?:actually |currently |clearly )?(?:be )?"
    r"(?:present|found|visible|there|depicted|shown|seen|located|contained|included|exist|appear)\b"
    rf" ?(?:anywhere )?(?:in|within|on) (?:the|this) {_IMAGE}",
    rf"\b{_THING}\b[^.!?\n]{{0,80}}?(?:does|do|did|is|are|was)(?: not|n['’]t) "
    r"(?:actually )?(?:exist|present|appear|found|visible|there)\b",
    rf"\b{_IMAGE} (?:does not|doesn['’]t|do not) (?:contain|show|include|have|depict|feature)\b",
    r"\b(?:does not|doesn['’]t|do not|don['’]t) match (?:any|anything)\b",
)

_OTHERS = (
    # Chinese
    r"(?:没有|沒有|未|无|無|找不到|不存在|并无|並無|未能)(?:[^。！？\n]{0,20}?)"
    r"(?:匹配|符合|对应|對應|相符|满足|滿足|找到|发现|發現|检测到|檢測到)",
    r"(?:找不到|不存在|未找到|未发现|未發現|未检测到|没有找到|沒有找到|没找到|没有发现|沒有發現)",
    r"(?:没有|沒有)[^。！？\n]{0,20}?(?:这样的|這樣的|该|該|所描述的|描述的)"
    r"(?:物体|物體|对象|對象|目标|目標|人|物品)",
    r"(?:图|圖|画面|照片|圖片|图片)(?:像|片)?(?:中|里|裡|上)?(?:没有|沒有|并没有|不包含|无|無)",
    # Japanese
    r"(?:一致|該当|対応|合致)する[^。\n]{0,20}?(?:ありません|存在しません|見つかりません|ない|いません)",
    r"(?:見つかりません|見当たりません|存在しません|該当なし|見つかりませんでした)",
    # Korean
    r"(?:일치|해당|부합|맞)[^.\n]{0,20}?(?:없습니다|없음|없다|없어요|않습니다)",
    r"(?:찾을 수 없|존재하지 않|발견되지 않|찾지 못)",
    # German
    r"\bkein(?:e|en|es|er)? (?:[\wäöüß-]+ ){0,3}?"
    r"(?:passend|übereinstimmend|entsprechend|objekt|gegenstand|treffer|übereinstimmung)",
    r"\bnichts\b[^.\n]{0,40}(?:passt|entspricht|gefunden)",
    r"\bnicht (?:gefunden|vorhanden|zu sehen|zu finden|im bild)",
    # French
    r"\b(?:aucun|aucune|nul)\b[^.\n]{0,60}?(?:correspond|trouvé|objet|présent|visible)",
    r"\brien (?:ne|dans l['’]image)\b",
    r"\bn['’](?:existe|est|apparaît|y a)\b[^.\n]{0,20}?\b(?:pas|aucun|présent)",
    r"\bpas (?:trouvé|présent|visible)\b",
    # Spanish, Portuguese, Italian
    r"\b(?:ning[uú]n|ninguna|nenhum|nenhuma|nessun|nessuna|nessuno)\b[^.\n]{0,60}?"
    r"(?:coincid|corresp|objet|oggett|encontr|trovat|present|item|elemento)",
    r"\bno (?:hay|existe|se encuentra|se encontr|aparece|c['’]è|ci sono|esiste|è presente|"
    r"encuentro|veo ning)",
    r"\bnon (?:c['’]è|ci sono|esiste|è presente|trovo|è stato trovato)",
    r"\bnão (?:há|existe|encontr|foi encontrad|está presente|consta)",
    # Dutch, Polish, Indonesian, Vietnamese, Turkish
    r"\bgeen (?:[\w-]+ ){0,3}?(?:object|overeenkom|passend|match)",
    r"\bniet (?:gevonden|aanwezig|zichtbaar)",
    r"\b(?:nie ma|brak|nie znaleziono|żaden)\b[^.\n]{0,40}?(?:obiekt|pasuj|odpowiad|dopasowa)",
    r"\btidak (?:ada|ditemukan|menemukan|terdapat)\b",
    r"không (?:có|tìm thấy|tồn tại)",
    r"(?:eşleşen|uyan|karş[ıi]l[ıi]k gelen)[^.\n]{0,30}?(?:yok|bulunamad[ıi]|bulunmuyor)"
    r"|bulunamad[ıi]",
    # Russian, Ukrainian
    r"\b(?:нет|немає|отсутству\w+|не найден\w*|не знайдено|не обнаружен\w*|не существует|не вижу)\b"
    r"[^.\n]{0,60}?(?:объект|об['’]єкт|соответств|відповіда|подходящ|совпад|предмет)",
    r"(?:объект|об['’]єкт|предмет)\w*[^.\n]{0,60}?"
    r"\b(?:нет|немає|отсутству|не найден|не знайдено|не обнаружен|не существует|не соответству)",
    r"\bничего\b[^.\n]{0,40}?(?:не соответств|не подход|не найден)",
    # Arabic, Hindi, Thai
    r"(?:لا يوجد|لا توجد|لم يتم العثور|لا شيء|غير موجود)",
    r"(?:कोई[^।\n]{0,40}?(?:नहीं|नही)|नहीं मिल|मौजूद नहीं)",
    r"(?:ไม่มี|ไม่พบ)",
)

_SHORT = (
    "null|none|nothing|no match|no matches|no matching object|no object|not found|not present|"
    "absent|no such object|does not exist|无|無|没有|沒有|空|なし|ありません|없음|없습니다|нет|"
    "немає|keine|keines|nichts|aucun|aucune|rien|ninguno|ninguna|nada|nenhum|nenhuma|nessuno|"
    "nessuna|geen|brak|yok|không có|tidak ada|لا شيء|لا يوجد|कोई नहीं|ไม่มี"
)

_STATEMENTS = (*_ENGLISH, *_OTHERS)
_AT_WORDS = "|".join(one.removeprefix(r"\b") for one in _STATEMENTS if one.startswith(r"\b"))
_ELSEWHERE = "|".join(one for one in _STATEMENTS if not one.startswith(r"\b"))
# Of small letters only, and one look at where a statement may begin: both make the search several
# times faster. Inside an ASCII word only the few beginnings named here occur.
_REJECTION = re.compile(
    rf"\b(?=\w)(?:{_AT_WORDS})|(?=[^\x00-\x7f]|n(?:ot|['’]t)|eş|uyan|karş|bulun|kh)(?:{_ELSEWHERE})"
)
_WHOLE = re.compile(
    r"[\s\"'`*_.。(\[]{0,20}+(?:(?:final )?answer|答案|result|output)?[\s*_]{0,8}+[:：]?"
    rf"[\s\"'`*_]{{0,8}}+(?:{_SHORT})[\s\"'`*_.。!)\]]{{0,20}}+",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:if|unless|whether|in case|wenn|falls|si|se|если|якщо)\b|如果|若|もし|만약|이면", re.I
)
_OTHER = re.compile(
    r"\b(?:other|else|another|additional|further|more|doubt|problem|question|longer|need)\b"
    r"|其他|其它|别的|別的|ほか|他の|다른|andere|autre|otr[oa]s?|outr[oa]s?|altr[oai]|друг",
    re.I,
)
# What a statement after a box must be about before it takes the box back: "there are no objects in
# front of it in the image" explains a box.
_TAKES_BACK = re.compile(
    r"match|no such|correspond|satisf|\bfits?\b|descri|匹配|符合|相符|一致|該当|일치|해당|"
    r"соответств|відповіда|passend|entspr|coincid",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。！？\n;]")

_REFUSAL = re.compile(
    r"\bsorry\b"
    r"|\bi (?:can ?not|can['’]?t|am (?:unable|not able)|['’]?m (?:unable|not able)|won['’]?t|"
    r"will not|am not allowed|must decline|do not have the ability|don['’]t have the ability)"
    r"|\bi['’]m (?:unable|not able)|\b(?:unable|not able) to (?:assist|help|process|view|see|"
    r"access|provide|comply|fulfil|analy[sz]e|identify|display|open)"
    r"|\bas an? (?:ai|language model|text-based)|\bagainst (?:my|our|the) (?:policy|policies|guid)"
    r"|\bno image (?:was |is |has been )?(?:provided|attached|uploaded|included)"
    r"|(?:抱歉|对不起|對不起|无法(?:协助|帮助|提供|处理|查看|回答|满足)|無法(?:協助|幫助|提供|處理)|"
    r"不能(?:协助|帮助|提供|回答)|作为(?:一个)?(?:AI|人工智能|语言模型))"
    r"|(?:申し訳|お手伝いできません|対応できません)|(?:죄송|도와드릴 수 없)"
    r"|\b(?:es tut mir leid|ich kann (?:ihnen |dir )?(?:dabei |damit |das )?nicht)"
    r"|\b(?:désolée?|je ne peux pas|lo siento|no puedo (?:ayudar|asist|proporcion)|desculpe|"
    r"não posso (?:ajudar|fornecer)|mi dispiace|non posso)|(?:извините|не могу помочь|к сожалению)",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"\s*(?:\{\s*[\"']?(?:error|detail)[\"']?\s*:|"
    r"\[?(?:api |server |internal |http |request |openai ){0,4}(?:error|exception|failure)\b|"
    r"traceback \(most recent|failed to obtain answer|<!doctype html|<html|"
    r"[45]\d\d (?:client|server|bad|internal|service|gateway|too many|not found|unauthor)|"
    r"(?:connection|request|read) (?:error|timed out|timeout|refused|reset)|rate limit|"
    r"(?:[a-z_.]{1,40}\.)?[a-z]{1,40}(?:error|exception)\b\s*[:(])",
    re.IGNORECASE,
)


def find_rejection(text: str, start: int = 0, *, again: bool = False) -> tuple[int, int] | None:
    """Where the last characters of a text say that nothing matches.

    Args:
        text: Without reasoning.
        start: Where to begin.
        again: Whether an answer came before `start`, which only a plain statement that nothing
            matches takes back.

    Returns:
        Start and end of the statement in `text`; None where there is none. A condition ("if no
        object matches") and a statement on others ("no other object matches") are none.

    Example:
        >>> find_rejection("I looked. There is no matching object.")
        (19, 30)
        >>> find_rejection("If no matching object is found, say null.")
    """
    begin = max(start, len(text) - REACH)
    if not again and begin == start and _WHOLE.fullmatch(text, begin):
        return begin, len(text)
    found = None
    # The only letter whose small form is two is taken for one, so that the spans stay.
    for match in _REJECTION.finditer(text.replace("İ", "i").lower(), begin):
        if _OTHER.search(match[0]):
            continue
        ends = [end.end() for end in _SENTENCE_END.finditer(text, begin, match.start())]
        if _CONDITION.search(text, ends[-1] if ends else begin, match.start()):
            continue
        if again and not _TAKES_BACK.search(match[0]):
            continue
        found = match.span()
    if found:
        return found
    end = len(text.rstrip())
    line = text.rfind("\n", begin, end) + 1
    if line > begin and _WHOLE.fullmatch(text, line, end):
        return line, end
    return None


def is_rejection(text: str) -> bool:
    """Whether a short text, such as a value in JSON, says that nothing matches."""
    return find_rejection(text) is not None


def is_refusal(text: str) -> bool:
    """Whether a text declines the work, or says that it cannot be done."""
    return _REFUSAL.search(text, max(0, len(text) - REACH)) is not None


def is_error(text: str) -> bool:
    """Whether a text is the message of a server or program instead of a reply."""
    return _ERROR.match(text) is not None
