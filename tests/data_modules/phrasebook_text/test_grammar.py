"""What a template says with its lexemes: sentences written by hand, and no form missing."""

from __future__ import annotations

import random
import unicodedata

import pytest

from data_modules.phrasebook_text.grammar import NAME, OTHER
from data_modules.phrasebook_text.sentences import SPOKEN, Phrasebook, say

EXPECTED = {
    "food/dish_was_taste(dish/omelette, taste/burnt, past/yesterday)": """
        The omelette that we ate yesterday was burnt.
        कल हमने जो ऑमलेट खाया, वह जला हुआ था।
        Kal humne jo omelette khaya, woh jala hua tha.
        গতকাল আমরা যে অমলেট খেয়েছিলাম, সেটা পোড়া ছিল।
        Gotokal amra je omelette kheyechilam, seta pora chilo.
        La tortilla francesa que comimos ayer estaba quemada.
        Das Omelett, das wir gestern gegessen haben, war angebrannt.
        Kal humne jo omelette khaya, woh burnt tha.
        Gotokal amra je omelette kheyechilam, seta burnt chilo.
        Gotokal amra je omelette kheyechilam, seta jala hua chilo.""",
    "travel/missed_vehicle(past/last Friday, kin/my son, vehicle/train, city/Kolkata)": """
        Last Friday my son missed the train to Kolkata.
        पिछले शुक्रवार को मेरे बेटे की कोलकाता वाली ट्रेन छूट गई।
        Pichle shukravar ko mere bete ki Kolkata wali train chhoot gayi.
        গত শুক্রবার আমার ছেলে কলকাতা যাওয়ার ট্রেন ধরতে পারেনি।
        Goto shukrobar amar chele Kolkata jawar train dhorte pareni.
        El viernes pasado mi hijo perdió el tren a Calcuta.
        Letzten Freitag hat mein Sohn den Zug nach Kalkutta verpasst.
        Pichle shukravar ko mere bete ne Kolkata wali train miss kar di.
        Goto shukrobar amar chele Kolkata jawar train miss koreche.
        Yaar, goto shukrobar amar chele Kolkata jawar train miss koreche.""",
    "weather/forgot_gear(past/yesterday, condition/it is raining, name/Sofia, gear/umbrella)": """
        Yesterday it was raining, and Sofia left the umbrella at home.
        कल बारिश हो रही थी और सोफ़िया छाता घर पर भूल गई।
        Kal baarish ho rahi thi aur Sofia chhata ghar par bhool gayi.
        গতকাল বৃষ্টি হচ্ছিল, আর সোফিয়া ছাতা বাড়িতে ফেলে এসেছিল।
        Gotokal brishti hocchilo, ar Sofia chata barite phele eshechilo.
        Ayer estaba lloviendo y Sofia se dejó el paraguas en casa.
        Gestern hat Sofia den Regenschirm zu Hause gelassen, obwohl es regnete.
        Kal baarish ho rahi thi aur Sofia umbrella ghar par bhool gayi, so careless!
        Gotokal brishti hocchilo, ar Sofia umbrella barite phele eshechilo, so careless!
        Gotokal brishti hocchilo, aur Sofia umbrella barite phele eshechilo, so careless!""",
    "family/misses_elder(kin/my sister, city/Vienna, elder/my grandfather)": """
        My sister moved to Vienna and misses my grandfather very much.
        मेरी बहन वियना चली गई है और उसे मेरे दादाजी की बहुत याद आती है।
        Meri behen Vienna chali gayi hai aur use mere dadaji ki bahut yaad aati hai.
        আমার বোন ভিয়েনা চলে গেছে, আর ওর আমার দাদুর কথা খুব মনে পড়ে।
        Amar bon Vienna chole geche, ar or amar dadur kotha khub mone pore.
        Mi hermana se mudó a Viena y echa mucho de menos a mi abuelo.
        Meine Schwester ist nach Wien gezogen und vermisst meinen Großvater sehr.
        Meri behen Vienna shift ho gayi hai aur mere dadaji ko bahut miss karti hai.
        Amar bon Vienna shift koreche, ar amar daduke khub miss kore.
        Amar bon Vienna shift koreche, ar amar daduke bahut miss kore.""",
    "school/finds_subject(name/Laura, subject/physics, judgement/boring)": """
        Laura finds physics boring.
        लौरा को भौतिकी उबाऊ लगती है।
        Laura ko bhautiki ubaau lagti hai.
        লরার পদার্থবিদ্যা একঘেয়ে লাগে।
        Laurar podarthobidya ekgheye lage.
        A Laura la física le parece aburrida.
        Laura findet Physik langweilig.
        Laura ko physics boring lagti hai.
        Laurar physics boring lage.
        Laurar physics ubaau lage.""",
    "work/mistake_in_document(kin/my neighbour, document/contract, boss/our director)": """
        My neighbour made a mistake in the contract, and our director is angry.
        मेरे पड़ोसी ने अनुबंध में एक ग़लती की और हमारी डायरेक्टर नाराज़ हैं।
        Mere padosi ne anubandh mein ek galti ki aur hamari director naraaz hain.
        আমার প্রতিবেশী চুক্তিপত্রে একটা ভুল করেছে, আর আমাদের ডিরেক্টর রেগে আছেন।
        Amar protibeshi chuktipotre ekta bhul koreche, ar amader director rege achen.
        Mi vecino cometió un error en el contrato y nuestra directora está enfadada.
        Mein Nachbar hat im Vertrag einen Fehler gemacht, und unsere Direktorin ist verärgert.
        Mere padosi ne contract mein ek mistake ki aur hamari director angry hain.
        Amar protibeshi contract e ekta mistake koreche, ar amader director rege achen.
        Amar protibeshi contract e ekta galti koreche, ar amader director rege achen.""",
    "shopping/ask_price(color/blue, garment/skirt, color/green)": """
        How much is this blue skirt, and do you also have it in green?
        यह नीली स्कर्ट कितने की है, और क्या यह हरे रंग में भी है?
        Yeh neeli skirt kitne ki hai, aur kya yeh hare rang mein bhi hai?
        এই নীল স্কার্টটার দাম কত, আর এটা কি সবুজ রঙেও আছে?
        Ei neel skirt tar daam koto, ar eta ki shobuj ronge-o ache?
        ¿Cuánto cuesta esta falda azul y la tiene también en verde?
        Was kostet dieser blaue Rock, und haben Sie ihn auch in Grün?
        Yeh blue skirt kitne ki hai, aur kya yeh green color mein bhi hai?
        Ei blue skirt tar daam koto, ar eta ki green color e ache?
        Ei blue skirt kitne ki hai, ar eta ki green color e ache?""",
    "health/fell_off_bicycle(past/two days ago, name/Paul, body/knee)": """
        Two days ago Paul fell off the bicycle and hurt his knee.
        दो दिन पहले पॉल साइकिल से गिर गया और उसके घुटने में चोट लग गई।
        Do din pehle Paul cycle se gir gaya aur uske ghutne mein chot lag gayi.
        দুদিন আগে পল সাইকেল থেকে পড়ে গিয়ে হাঁটুতে চোট পেয়েছে।
        Dudin aage Paul cycle theke pore giye haatute chot peyeche.
        Hace dos días Paul se cayó de la bicicleta y se hizo daño en la rodilla.
        Vor zwei Tagen ist Paul vom Fahrrad gefallen und hat sich das Knie verletzt.
        Do din pehle Paul bike se gir gaya aur uske knee mein chot lag gayi.
        Dudin aage Paul bike theke pore giye knee e chot peyeche.
        Dudin aage Paul bike theke pore giye ghutne mein chot peyeche.""",
    "home/where_is_thing(small_thing/key, furniture/table, room/kitchen)": """
        Where is my key? It is on the table in the kitchen.
        मेरी चाबी कहाँ है? वह रसोई में मेज़ पर है।
        Meri chaabi kahan hai? Woh rasoi mein mez par hai.
        আমার চাবিটা কোথায়? ওটা রান্নাঘরে টেবিলের উপরে আছে।
        Amar chabi ta kothay? Ota rannaghore tebiler upore ache.
        ¿Dónde está mi llave? Está en la cocina, encima de la mesa.
        Wo ist mein Schlüssel? Er ist in der Küche auf dem Tisch.
        Meri key kahan hai? Woh kitchen mein table par hai.
        Amar key ta kothay? Ota kitchen e table er upore ache.
        Amar key ta kahan hai? Ota kitchen e table er upore ache.""",
    "technology/festival_device(festival/Diwali, elder/my father, kin/my son, device/camera)": """
        At Diwali my father gave my son a new camera.
        दिवाली पर मेरे पापा ने मेरे बेटे को नया कैमरा दिया।
        Diwali par mere papa ne mere bete ko naya camera diya.
        দীপাবলিতে আমার বাবা আমার ছেলেকে নতুন ক্যামেরা দিয়েছেন।
        Dipabolite amar baba amar cheleke notun camera diyechen.
        En Diwali mi padre le regaló a mi hijo una cámara nueva.
        Zu Diwali hat mein Vater meinem Sohn eine neue Kamera geschenkt.
        Diwali par mere papa ne mere bete ko naya camera gift kiya.
        Dipabolite amar baba amar cheleke notun camera gift korechen.
        Dipabolite amar baba amar cheleke naya camera gift korechen.""",
}
"""By key, the sentence in the order of `SPOKEN`, written by hand."""


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook(seed=0)


@pytest.mark.parametrize("key", EXPECTED)
def test_hand_written_sentences(book: Phrasebook, key: str) -> None:
    expected = [line.strip() for line in EXPECTED[key].strip().splitlines()]
    said = [book.translate(key, language).text for language in SPOKEN]
    assert said == [unicodedata.normalize("NFC", line) for line in expected]


def test_size_of_the_book(book: Phrasebook) -> None:
    assert len(book.book.templates) >= 60
    assert len({template.topic for template in book.book.templates}) >= 10
    assert len({x.id for members in book.book.classes.values() for x in members.values()}) >= 250


def test_tags_follow_the_switches(book: Phrasebook) -> None:
    key = (
        "weather/forgot_gear(past/this morning, condition/it is raining, name/Sofia, gear/umbrella)"
    )
    sentence = book.translate(key, "bn-hi-en")
    tags = dict(zip(sentence.tokens, sentence.token_languages, strict=True))
    assert tags["brishti"] == "bn-Latn"
    assert tags["aur"] == "hi-Latn"
    assert tags["umbrella"] == tags["careless"] == "en"
    assert tags["Sofia"] == NAME
    assert tags[","] == tags["!"] == OTHER


def test_every_lexeme_can_stand_in_every_slot(book: Phrasebook) -> None:
    """No form, gender or choice is missing anywhere, and no markup is left in the text."""
    everything = Phrasebook(seed=0)
    everything.held_out_lexemes = frozenset()

    draw = random.Random(0)
    for template in book.book.templates:
        seen: set[tuple[int, str]] = set()
        for _ in range(150):
            words = everything._bind(template, draw, new_word=False)
            if words is None or seen.issuperset(new := {(i, w.id) for i, w in enumerate(words)}):
                continue
            seen |= new
            for language in SPOKEN:
                text = say(template, words, language).text
                assert not set("{}<>[]|=/@") & set(text), text
                assert "  " not in text
                assert not text[0].islower(), text
                assert text[-1] in ".!?।", text
