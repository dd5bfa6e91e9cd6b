"""How people ask, in parts: what training_question and visitor put together. Nothing here says what is asked about."""

ABOUT_TOPIC = (
    "Can you give me some tips on {t}?",
    "What should I know about {t}?",
    "I need advice on {t}.",
    "How do I get started with {t}?",
    "Any simple ideas for {t}?",
    "Please help me with {t}.",
    "Could you tell me more about {t}?",
    "What matters most for {t}?",
    "What are common mistakes with {t}?",
    "Give me three tips for {t}.",
    "I am new to {t}. Where should I begin?",
    "How can I get better at {t}?",
    "I would like to learn about {t}.",
    "{t}, any suggestions?",
    "What do experts say about {t}?",
    "Tell me something useful about {t}.",
    "I have questions about {t}.",
    "Explain {t} to me in simple words.",
    "My friend and I talk a lot about {t}. What would you recommend?",
    "Is there a simple way to manage {t}?",
    "How would you approach {t}?",
    "I keep failing at {t}. What can I do?",
    "{t} for beginners",
    "Let's talk about {t}.",
    "What is the best way to deal with {t}?",
    "I want to spend more time on {t} this year.",
)
ABOUT_KEYWORD = (
    "What do you know about {k}?",
    "Tell me about {k}.",
    "Can you recommend something for {k}?",
    "{k} tips",
    "best {k}",
    "Which {k} is the best?",
    "is {k} worth it?",
    "Where can I find good {k}?",
    "How much does {k} cost?",
    "What is the difference between {k} and {l}?",
    "{k} or {l}?",
    "I have a problem with {k}.",
    "help with {k} please",
    "My friend says {k} is important. Why?",
    "I am looking for {k}.",
    "how does {k} work",
    "Why is {k} so difficult?",
    "I want to buy {k} for my brother. Any ideas?",
    "What are good ideas for {k} this weekend?",
    "I love {k}!",
    "I need to decide between {k} and {l} by tomorrow.",
    "Compare {k} and {l} for me.",
    "{k}?",
    "Write about {k}.",
    "Do you have experience with {k}?",
    "We talked about {k} yesterday, and I would like to know more about {l}.",
    "What is new in {k}?",
    "Can {k} be done in ten minutes?",
    "Make a plan for {k}.",
    "List the top 5 {k} tricks.",
    "I got {k} as a gift. What now?",
    "How often do I need {k}?",
    "What should I check before buying {k}?",
)
ABOUT_PRODUCT = (
    "Can you recommend {a}?",
    "What should I look for when buying {a}?",
    "I am looking for {a}. What do you suggest?",
    "Is it worth spending more on {a}?",
    "I want to give my sister {a}. Any ideas?",
    "I would like to give my father {a} for his birthday. What is a good choice?",
    "Do I really need {a}?",
    "I have to replace my {p}. What is good?",
    "How do I choose {a}?",
    "How much should I spend on {a}?",
    "I have never bought {a} before. Where do I start?",
    "What makes a difference with {a}?",
    "Which brand of {p} is good?",
    "Does it matter which {p} I buy?",
)
# Sentences in parts: thousands of ways to ask, so that the topic is found whatever stands around it.
ASKS = (
    "Can you",
    "Could you",
    "Would you",
    "Please",
    "I hope you can",
    "Are you able to",
    "I want you to",
    "You should",
)
VERBS = ("give me", "share", "list", "suggest", "show me", "offer", "write down", "tell me", "find", "explain")
WHATS = (
    "some advice",
    "five tricks",
    "the basics",
    "something practical",
    "simple steps",
    "a short guide",
    "some help",
    "your opinion",
    "good habits",
    "a plan",
    "more",
    "two or three ideas",
    "what works",
    "anything",
)
ON = ("on", "about", "for", "with", "regarding", "when it comes to", "around", "at")
# Words that say nothing about the topic, to be found in any question.
_FILLERS = (
    "a able about above across actually add advice after again ago agree all allow alone along already also although "
    "always among amount another answer anybody anyone anyway apart appear are area around ask at avoid away barely "
    "because become been before begin behind being believe below beside best better between beyond big both bright "
    "bring broken brought but buying came cannot carry cause certain certainly chance cheap children choose "
    "clear close cold come common compare complete consider continue could couple create current cut daily "
    "days deal decide deep definitely depend describe detail did different difficult directly do does doing done "
    "down dry due during each early easily easy effect either else end enjoy enough entirely especially even evening "
    "ever every everything exactly example except expect experience explain extra fact fail fairly family far fast "
    "feel few figure fill finally find fine first fixing follow for forget forward found frequently fresh friend "
    "from fully further gave general gentle get getting give given go going gone good got great guess had hand "
    "happen happy hard has have having he hear heavy help her here him his holding home hope hot house how however i "
    "idea if imagine important improve in include increase instead interested into issue it item its itself join "
    "just keep keeping kept kind knew know known lack large last late lately later lead learn leave left less let "
    "light likely limit list little living long looking lose lost lot love low main make making manage many matter "
    "maybe mean means meant mention mine minute miss mistake moment month morning most mostly move much must my "
    "myself near nearly necessary need neither never new next nice night no nobody none normal not nothing notice "
    "now number occasion of offer often okay old on once one ones only onto open option order other otherwise ought "
    "our ourselves out over own parents part particular past pay people perfect perhaps person pick piece place "
    "plain please point possible prefer prepare pretty prevent probably problem proper properly purpose put question "
    "quick quickly quiet quite rather ready realise really reason recently recommend reduce regular remember remove "
    "result return right room rule safe said same saving say school season second see seem seen sense separate "
    "serious set several shall share she short should show side similar simple simply since single size slightly "
    "slowly small so soft solve some somebody somehow someone something sometimes somewhere soon sort spring start "
    "state stay step stick still stop storing strong such suddenly suggest summer suppose sure surely take talk tell "
    "than thank that the their them then there therefore these they thing think this those though thought through "
    "thus time tip tired to today together told too took top total toward tried true trust try turn twice type under "
    "unless until upon us use useful using usual usually value various very wait want warm was watching way we week "
    "weekend well went were wet what whatever when where whether which while who whole whose why wide will winter "
    "wish with within without wonder word work working would write wrong year yes yet you young your yourself "
    "can't won't don't doesn't didn't isn't wasn't couldn't wouldn't haven't I'm I've I'd it's that's what's there's "
    "let's you're we're they're nothing's somebody's mine's longer buy buying bought choose decided tell told worth "
    "stand stands lasts ends anymore broke fail failed fails gift present birthday person stranger neighbour "
    "colleague brother uncle aunt mum dad price cost half double hours tonight yesterday tomorrow"
)
FILLERS = tuple(_FILLERS.split())
WHO = (
    "people",
    "I",
    "beginners",
    "most of us",
    "my sister",
    "children",
    "we",
    "old hands",
    "others",
    "someone like me",
)
DO = (
    "get wrong",
    "need",
    "usually forget",
    "do first",
    "worry about",
    "spend money on",
    "get out of it",
    "change",
    "like",
)
STATES = (
    "I am stuck",
    "I struggle",
    "I am curious",
    "I made a mistake",
    "I feel lost",
    "I am not happy",
    "I need a hand",
    "I could do with some help",
    "I am getting better",
    "I have no idea",
    "I want to improve",
)
HELD_OUT_ABOUT = (
    "Do you have any good advice about {t}?",
    "I could use a hand with {t}.",
    "Where do people go wrong with {t}?",
    "What would help me with {t}?",
    "Share a few ideas on {t}, please.",
    "How does one improve at {t}?",
)
_JOBS = (
    "a nurse, a teacher, an accountant, a driver, a cook, a lawyer, a carpenter, an engineer, a waiter, a farmer, "
    "a cashier, a doctor, a plumber, a translator, a florist, a clerk, a paramedic, an architect, a librarian, a vet"
)
BEFORE = (
    "Hello!",
    "Hi,",
    "Hey there.",
    "Good morning.",
    "I am a student with little money.",
    "I have two small children.",
    "I live in a small flat.",
    "I work long hours.",
    "I am 62 years old.",
    "My partner asked me this yesterday.",
    "I am a complete beginner.",
    "It is my first time.",
    "Quick question:",
    "My doctor told me to ask.",
    "I have tried a lot already.",
    "I moved to a new city last month.",
    "This may sound silly.",
    "Next week I am on leave.",
    *(f"I work as {job}." for job in _JOBS.split(", ")),
    "I am retired.",
    "I am 37 years old.",
    "I study law.",
    "I study chemistry.",
    "I live with my parents.",
    "I sit all day at work.",
    "I am on my feet all day.",
    "I get up very early.",
    "We have just moved in together.",
    "I live alone in the city.",
    "I live in the countryside.",
    "My grandchildren visit every week.",
    "I have three teenagers.",
    "I do not earn much.",
    "I like to buy things that last.",
    "I have no time during the week.",
)
AFTER = (
    "Thanks!",
    "Thank you in advance.",
    "Please keep it short.",
    "I have only ten minutes a day.",
    "My budget is small.",
    "I would like a detailed answer.",
    "Please answer in simple words.",
    "What do you think?",
    "It is quite urgent.",
    "I do not want to spend more than 50 dollars.",
    "Any help is welcome.",
    "I live alone.",
)
PEOPLE = (
    "A 34-year-old nurse who works night shifts.",
    "A retired teacher in a small town.",
    "A student who shares a flat.",
    "A freelance designer, 29, living in a big city.",
    "A busy father of two.",
    "An engineer who travels for work.",
    "A 45-year-old shop owner.",
    "A young couple with a baby.",
    "A lawyer who has little free time.",
    "A chef, 38, who likes quiet evenings.",
    "An office worker who lives alone.",
    "A 67-year-old with a small garden.",
)
