"""Phrases with which language models talk to their user instead of describing an image.

The patterns are in lower case and are matched at the start of a sentence or clause, without regard to case.
"""

import re

__all__ = ["description_of", "is_closing_list", "is_preamble", "is_talk", "lead_end", "mentions_diagnosis"]


def _one_of(*patterns: str) -> str:
    return f"(?:{'|'.join(patterns)})"


_ANYWHERE = r"(?:.*\b)?"
_I = r"(?:i|we)"
_NOUN = _one_of(
    *("descriptions?", "breakdown", "analysis", "summary", "captions?", "overview", "report", "observations?"),
    *("interpretation", "assessment", "evaluation", "answers?", "responses?", "list", "explanation", "rundown"),
    *("depiction", "what (?:i|can|is)"),
)
_TELL = _one_of(
    *(r"describ\w*", r"provid\w*", r"giv\w*", "offer", r"analy[sz]\w*", "help", "assist", "break", r"summari[sz]\w*"),
    *(r"focus", r"generat\w*", "outline", "do so"),
)
_ARTICLES = r"(?:(?:an?|the|my|your|some|[\w-]+,?) ){0,5}?"
_PREAMBLE = _one_of(
    r"here(?:'s| is| are| you go)\b[^.:]*:",
    rf"here(?:'s| is| are| you go)\b(?: [\w,'/-]+){{0,8}}? {_NOUN}\b",
    rf"(?:below|this|that|what follows) (?:is|are) {_ARTICLES}{_NOUN}\b",
    rf"the following (?:(?:is|are) )?{_ARTICLES}{_NOUN}\b",
    rf"{_I}(?:'ll| will| shall| can| could| would|'d| am going to|'m going to|'m able to| am able to|'m here to)?"
    rf"(?: (?:now|only|still|however|certainly|also|try to|be (?:happy|glad|able) to))* {_TELL}\b",
    rf"{_I}(?:'ve| have) (?:analy|examined|reviewed|looked|described|provided|tried|based|avoided|focused)",
    rf"{_I} (?:can )?(?:observe|see|note|notice) the following\b",
    r"let(?:'s| me| us)\b",
    r"(?:analy[sz]ing|processing|examining) (?:the|this|your) image\W*$",
    r"(?:that's an? |what an? )?(?:great|good|excellent|interesting) (?:question|request)\b",
    r"(?:thank you|thanks)\b",
    r"(?:i(?:'m| am)? )?(?:sorry|apologi[sz]e)\b",
    r"(?:my )?apologies\b",
)
_OFFER = _one_of(
    rf"{_ANYWHERE}(?:let me know|feel free|(?:do not|don't) hesitate|hope (?:this|that|it)(?:'s| is)? \w+)\b",
    rf"{_ANYWHERE}(?:happy|glad|pleased|delighted|ready|here) to {_TELL}",
    rf"{_ANYWHERE}(?:happy|glad|pleased|delighted|ready|here) to (?:answer|discuss|elaborate)",
    r"(?:just |and )?if you(?:'d|'re|'ve| would| want| wish| need| require| have| are| can| could| prefer| like)\b",
    r"(?:just |and )?if you (?:provide|share|send|upload)\b",
    r"(?:just |and )?if there(?:'s| is| are) any(?:thing| other| further| more| specific)\b",
    r"(?:(?:please|kindly|just|you (?:can|may|could)) )+(?:also |always )?(?:provide|upload|share|send|attach|submit"
    r"|ask|tell|specify|reply|request|give me|remember|be aware|keep in mind)\b",
    r"(?:waiting for|awaiting|looking forward|ready for|good luck|take care|have a (?:great|nice|good))\b",
    r"i(?:'m| am)? .*\b(?:if (?:needed|necessary|required|desired)|upon request)\b",
    r".*\b(?:you|your|i|me|we|another|anything|further|next)\b.*\?[\"')]*$",
)
_EXPERT = _one_of(
    r"(?:doctor|dermatologist|physician|clinician|specialist|radiologist|gastroenterologist|pathologist)s?",
    r"(?:medical|health ?care|health|qualified|trained|licensed)(?: \w+){0,2} (?:professional|provider|expert)s?",
    r"professional (?:medical )?(?:advice|opinion|evaluation|diagnosis)",
    r"medical (?:attention|advice|evaluation|care)",
)
_MACHINE = r"(?:ai|artificial|language|large|virtual|visual|computer|machine|chat|text|multimodal)"
_NEEDED = r"(?:should|must|recommended|required|needed|necessary|advised|warranted|essential|important)"
_STUDY = (
    r"(?:further|additional|professional|clinical|medical|histopatholog\w+) "
    r"(?:evaluation|examination|testing|assessment|investigation|correlation|information|context)"
)
_NEGATION = r"(?:not|cannot|can't|n't|unable to|without|no|never|neither|nor|beyond|rather than|refrain\w*|avoid\w*)"
_JUDGEMENT = _one_of(
    r"medical(?:ly)? (?:advice|diagnos\w+|opinions?|conclusions?|interpret\w+|judg\w+|assessment|purposes)",
    r"(?:diagnostic|clinical|any|drawing|providing|making) conclusions?",
    r"diagnos(?:is|es|e|ing)",
    r"diagnostic (?:purpose|assessment|tool|opinion|interpretation|judg)\w*",
    r"(?:substitute|replacement) for",
    r"replace (?:an?|the|medical|professional)",
    r"clinical judg\w+",
    r"treatment (?:advice|recommend\w*|plans?|options?)",
)
_DISCLAIMER = _one_of(
    r"(?:medical |important |legal )*disclaimer\b",
    rf"{_ANYWHERE}i(?:'m| am)(?: (?:just|only|merely|simply|not))* an? {_MACHINE}\b",
    rf"{_ANYWHERE}i(?:'m| am)(?: (?:just|only|merely|simply|not))* an? (?:licensed |qualified )?(?:medical|{_EXPERT})",
    rf"{_ANYWHERE}(?:consult\w*|seek\w*|contact|visit|speak|talk|refer|schedule|see (?:an?|your))\b[^.]{{0,60}}"
    rf"\b{_EXPERT}\b",
    rf"{_ANYWHERE}(?:{_NEEDED}|recommend\w*|advi[sc]\w*|requires?|needs?|only|best|crucial)\b[^.]{{0,80}}"
    rf"\b(?:evaluat|examin|review|assess|confirm|diagnos|interpret|determin)\w*\b[^.]{{0,60}}\b{_EXPERT}\b",
    rf"{_ANYWHERE}{_EXPERT} (?:can|could|would|should|must|needs? to|(?:is|are) (?:\w+ )?{_NEEDED})\b",
    rf"{_ANYWHERE}{_NEGATION}\b[^.]{{0,80}}?\b{_JUDGEMENT}\b",
    rf"{_ANYWHERE}diagnos(?:is|es)\b[^.]{{0,30}}\b(?:cannot|can't|not|requires?|should|must)\b",
    rf"{_ANYWHERE}(?:generated|written|produced) by (?:an )?(?:ai|artificial)\b",
    rf"{_ANYWHERE}ai-generated\b",
    rf"{_ANYWHERE}for (?:\w+ )?(?:informational|educational|illustrative|research)\b",
    rf"(?:this|the above|these|my)(?: (?:visual|image|detailed|above|ai))* (?:{_NOUN}|information)\b[^.]{{0,60}}"
    r"\b(?:is|are|was|were|based|intended|provided|does|do|should|cannot|reflects?|adheres?|avoids?|focus\w*|captures?"
    r"|covers?|aims?|excludes?|summari[sz]es)\b",
    rf"{_ANYWHERE}(?:{_STUDY}|biopsy)\b[^.]{{0,60}}\b{_NEEDED}\b",
    rf"{_ANYWHERE}(?:requires?|warrants?|needs?|suggests?) (?:a )?{_STUDY}\b",
)
_TITLE_WORDS = (
    r"(?:(?:final|image|visual|detailed|short|concise|brief|dermoscopic|skin|lesion|the|my|caption|overall) )*"
)
_LEAD = _one_of(
    r"(?:okay|ok|sure(?: thing)?|certainly|of course|absolutely|al(?:l ?)?right|great|yes|got it|understood|no problem"
    r"|well|hello|hi|gladly|good (?:morning|day)|however)(?: there)?\s*[,.!:—]+\s*",
    rf"{_TITLE_WORDS}(?:descriptions?|caption|answer|response|summary|analysis|breakdown|overview|output|assistant)"
    r"(?: of (?:(?:the|this|an?|skin|provided) )*(?:lesion|image|picture|photo|polyp|x-ray|radiograph))?\s*:\s*",
    r"(?:please )?note(?: that|:|,)\s*",
    r"(?:important|remember|n\.?b\.?)(?: note)?\s*:\s*",
    r"it(?:'s| is) (?:also )?(?:important|worth|essential|crucial)(?: to)? "
    r"(?:note|noting|mention\w*|remember|emphasi[sz]e) that\s*",
    r"(?:as (?:you )?(?:requested|instructed|asked)|per your \w+)[,:]\s*",
    r"based (?:solely |only |purely )?on [^,:.]{0,60}\b(?:images?|pictures?|photo|instructions|guidelines)\b"
    r"[^,:.]{0,30}[,:]\s*",
    r"as an? (?:ai|artificial|\w+ language|language|visual|virtual)\b[^,:.]*[,:]\s*",
    r"(?:while|although|though) (?:i|this)\b[^,.]*[,:]\s*",
)
_CLOSING_LIST = (
    r".*\b(?:would you|could you|do you|shall i|should i|you (?:can|could|may|might) (?!also see|see|observe|notice)"
    r"|i (?:can|could) also|let me know|if you(?:'d| would| want| need))\b.*:$"
)
_DESCRIPTION_OF = rf"(?:here(?:'s| is)|this is) [^.:]{{0,60}}?{_NOUN} of (?=(?:an?|one|two|several|multiple)\b)"

_PREAMBLES, _TALK, _LEADS, _CLOSING_LISTS, _DESCRIPTIONS_OF = (
    re.compile(pattern, re.IGNORECASE)
    for pattern in (_PREAMBLE, _one_of(_PREAMBLE, _OFFER, _DISCLAIMER), _LEAD, _CLOSING_LIST, rf"\b{_DESCRIPTION_OF}")
)
_DIAGNOSTIC = re.compile(r"\bdiagnos|\bmedical(?:ly)? (?:advice|opinion|interpret|conclusion)", re.IGNORECASE)


def is_talk(sentence: str) -> bool:
    """Return True if a sentence or clause is a preamble, an offer or a disclaimer."""
    return bool(_TALK.match(_plain(sentence)))


def is_preamble(sentence: str) -> bool:
    """Return True if a sentence announces what follows; behind its colon it may describe."""
    return bool(_PREAMBLES.match(_plain(sentence)))


def lead_end(sentence: str) -> int:
    """Return the end of the words before a statement, such as "Sure, " or "Description: "; 0 for none."""
    lead = _LEADS.match(_plain(sentence))
    return lead.end() if lead else 0


def is_closing_list(block: str) -> bool:
    """Return True if a block leads a list of offers or questions, with which an answer ends."""
    return bool(_CLOSING_LISTS.match(_plain(block)))


def mentions_diagnosis(sentence: str) -> bool:
    """Return True if a sentence is about a diagnosis or medical advice."""
    return bool(_DIAGNOSTIC.search(sentence))


def description_of(answer: str) -> str:
    """Remove "Here's a description of" before an indefinite noun, which the description begins with."""
    found = _DESCRIPTIONS_OF.search(_plain(answer))
    return answer[: found.start()] + answer[found.end() :] if found else answer


def _plain(text: str) -> str:
    return text.replace("’", "'")
