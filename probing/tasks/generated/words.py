"""The word lists of the generator: what there is to say, by class.

Each entry of ``NOUNS`` and ``VERBS`` is ``common words / middling words / rare words``: three bands
of frequency, counted (all forms of a word together) over 15 million words, mostly of public-domain
fiction and openly licensed textbooks. The bounds are 15 and 3.5 per million for nouns, 90 and 20
for verbs.

No form of a word is a form of another one, so that a form tells its word, and withholding a word
withholds every form of it.
"""

NOUNS: dict[str, str] = {
    "worker": """
        teacher nurse doctor farmer sailor soldier lawyer pilot waiter writer poet journalist
        student professor scientist engineer mechanic secretary clerk shepherd policeman:policemen
        banker merchant actor captain officer king queen prince monk priest bishop senator astronaut
        historian landlord inventor astronomer physicist philosopher ambassador governor emperor
        psychologist prisoner / gardener baker butcher carpenter singer dancer painter librarian
        surgeon barber tailor fisherman:fishermen detective thief:thieves actress musician composer
        princess knight nun mayor tourist athlete photographer architect miner hermit chef
        translator tutor apprentice tenant lodger sculptor novelist biologist chemist diplomat duke
        countess shopkeeper postman:postmen accountant cowboy outlaw smuggler pirate explorer
        collector housekeeper squire / plumber waitress cashier dentist burglar hiker swimmer boxer
        goalkeeper electrician wizard magician clown juggler janitor violinist pianist grocer
        blacksmith cobbler jeweler potter weaver beekeeper gravedigger lumberjack courier
        milkman:milkmen salesman:salesmen businesswoman:businesswomen congresswoman:congresswomen
        gamekeeper caretaker veterinarian pharmacist referee gangster tycoon governess""",
    "kin": """
        man:men woman:women boy girl child:children father mother brother sister uncle aunt cousin
        grandfather nephew husband wife:wives son daughter friend neighbor widow guest visitor
        stranger colleague gentleman:gentlemen lady customer passenger / grandmother niece bride
        roommate orphan teenager bachelor newcomer classmate grandson granddaughter villager /
        stepmother stepfather godmother widower pensioner""",
    "org": """
        company committee council agency foundation parliament union jury charity corporation court
        senate government commission startup / airline cooperative bureau / ministry federation
        syndicate brewery""",
    "animal": """
        dog cat horse cow pig wolf:wolves elephant hen mouse:mice rat snake camel / goat rabbit fox
        lion tiger monkey donkey pony kitten puppy lamb squirrel eagle owl goose:geese lizard frog
        crocodile beaver calf:calves mule hyena pigeon ostrich tortoise / hamster parrot raven
        rooster swan turtle zebra giraffe hedgehog badger otter kangaroo panda leopard stallion
        poodle bulldog cheetah jackal gorilla chimpanzee falcon vulture peacock sparrow penguin
        walrus spaniel terrier weasel raccoon""",
    "produce": """
        / apple banana peach lemon potato:potatoes onion mushroom pumpkin olive coconut cabbage /
        pear plum cherry melon carrot tomato:tomatoes cucumber radish turnip strawberry raspberry
        apricot pineapple mango:mangoes zucchini eggplant beet artichoke walnut""",
    "dish": """
        pizza egg / sandwich cookie biscuit pie cake tart / pancake waffle muffin pastry sausage
        omelet burger steak dumpling pretzel doughnut bagel casserole pudding lasagna meatball
        cupcake croissant kebab cheesecake""",
    "beverage": """
        tea coffee milk wine beer / juice whiskey champagne brandy vodka / lemonade cider cocoa""",
    "flower": """
        /  / tulip lily daisy orchid sunflower daffodil carnation peony marigold geranium poppy
        dahlia begonia hyacinth petunia lupin snowdrop pansy rosebush fern""",
    "tree": """
        palm / oak willow pine hedge / maple birch elm cedar poplar chestnut spruce larch sycamore
        aspen cypress""",
    "clothing": """
        coat shirt hat cap dress robe uniform / jacket sweater scarf:scarves skirt
        cloak apron vest gown bonnet tunic overcoat waistcoat / blouse cardigan
        raincoat blazer kimono turban""",
    "tool": """
        rope lamp candle key coin ring mirror knife:knives plate cup axe telescope diamond marble
        sword / hammer ladder lantern umbrella necklace bracelet pencil spoon fork mug pillow
        blanket towel rake needle purse toy doll balloon compass vase passport badge medal razor
        spade bowl saucer magnet dagger shield / shovel kettle broom screwdriver wrench wallet
        suitcase candlestick teapot teaspoon backpack briefcase""",
    "device": """
        computer phone radio television clock motor / printer generator laptop microphone typewriter
        refrigerator oven elevator furnace / scanner thermostat dishwasher lawnmower projector
        loudspeaker toaster heater boiler""",
    "vehicle": """
        car van truck bus:buses / taxi jeep / tractor motorcycle ambulance limousine minibus scooter
        sedan minivan convertible hearse camper snowmobile bulldozer lorry""",
    "building": """
        house school church hospital hotel museum library castle palace cottage factory station
        restaurant temple monastery prison / theater cabin barn mosque cathedral warehouse mansion
        airport chapel villa tavern convent laundry observatory / bakery lighthouse pharmacy
        supermarket bungalow gymnasium bookstore skyscraper""",
    "room": """
        kitchen bedroom classroom laboratory / bathroom cellar attic hallway corridor basement lobby
        studio nursery / garage pantry lounge ballroom vestibule""",
    "area": """
        garden park forest village valley desert town / meadow orchard vineyard jungle swamp suburb
        courtyard churchyard cemetery pasture / playground canyon prairie""",
    "landmark": """
        river lake hill bridge canal mountain statue monument stream dam / fountain pond cliff
        volcano:volcanoes glacier reservoir / waterfall lagoon obelisk""",
    "furniture": """
        table chair desk sofa bed bench / shelf:shelves stool armchair couch / dresser bookcase
        ottoman sideboard bookshelf:bookshelves nightstand""",
    "openable": """
        door window gate drawer cabinet safe / shutter cupboard hatch vault / wardrobe locker""",
    "container": "box basket barrel bag / jar bucket sack tin tray bin / crate pouch",
    "text": """
        letter novel report poem essay article contract speech story newspaper magazine textbook
        script chapter thesis:theses / diary manuscript biography dictionary pamphlet memoir
        anecdote editorial transcript / leaflet invoice postcard brochure sonnet questionnaire""",
    "music": """
        song / melody hymn opera chorus / ballad anthem lullaby symphony sonata waltz concerto
        overture serenade carol tango""",
    "picture": """
        portrait landscape icon / poster illustration cartoon / watercolor fresco:frescoes
        caricature mural tapestry masterpiece""",
    "instrument": """
        piano / guitar trumpet flute harp accordion / violin cello clarinet saxophone banjo trombone
        oboe fiddle mandolin""",
    "idea": """
        idea proposal theory suggestion argument decision law policy budget scheme project strategy
        hypothesis:hypotheses solution explanation conclusion motion amendment treaty doctrine
        principle prediction recommendation philosophy /  /""",
    "event": """
        party festival conference ceremony funeral lecture election trial match workshop / concert
        exhibition parade tournament banquet rehearsal picnic seminar celebration / reunion carnival
        gala""",
    "weather": """
        storm earthquake explosion / hurricane tornado:tornadoes gale / blizzard landslide wildfire
        hailstorm thunderstorm avalanche typhoon cyclone tsunami""",
    "incident": """
        accident scandal mistake crime incident threat defeat victory failure discovery noise /
        rumor coincidence revelation tragedy / riddle""",
    "daytime": "morning afternoon evening night winter summer / weekend autumn /",
    "ingredient": """
        bread rice / cheese butter honey jam chocolate bacon ham soup / porridge yogurt garlic
        cinnamon""",
}
"""Nouns by semantic class. ``man:men`` gives an irregular plural."""

NAMES: dict[str, str] = {
    "female_name": """
        Anna Mary Susan Laura Helen Emily Sarah Julia Alice Clara Nora Sophie Martha Irene Lucy
        Rachel Diana Olivia Hannah Teresa Fiona Ingrid Naomi Carmen Bridget""",
    "male_name": """
        Tom Peter John David Michael Robert Daniel Simon Oliver Henry George Martin Victor Edward
        Philip Samuel Walter Oscar Leon Hugo Felix Andrew Kenneth Gregory Marcus""",
    "city": """
        Paris London Rome Vienna Berlin Madrid Lisbon Dublin Athens Prague Chicago Boston Moscow
        Tokyo Cairo Toronto Oslo Helsinki Warsaw Budapest Seattle Denver Geneva Milan Venice
        Istanbul""",
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "month": "January February April June July August September October November December",
}
"""Proper names by kind; they have no frequency bands."""

ADJECTIVES: dict[str, str] = {
    "character": """
        friendly polite shy brave clever lazy honest rude generous stubborn cheerful grumpy wise
        foolish ambitious jealous proud humble cruel witty timid kind loyal greedy selfish modest
        talented famous eccentric charming arrogant sensible""",
    "age": "old young elderly middle-aged bald bearded tall thin slender",
    "nationality": """
        French German Italian Spanish Irish Dutch Swedish Greek Turkish Mexican Canadian Chinese
        Japanese Russian Norwegian Portuguese Hungarian Danish Finnish Egyptian Brazilian Scottish
        Austrian""",
    "state": """
        tired hungry angry happy sad anxious curious thirsty lonely sick calm nervous furious
        impatient desperate sleepy jubilant miserable restless grateful homesick""",
    "breed": """
        fierce furry noisy playful fat lean hairy skinny aggressive clumsy obedient stray muscular
        mischievous""",
    "size": "big small large tiny huge enormous massive little gigantic",
    "color": "red blue green yellow white black brown gray purple pink crimson turquoise beige",
    "worth": """
        expensive cheap beautiful ugly useful strange elegant plain fancy ordinary lovely shabby
        sturdy peculiar splendid valuable""",
    "vintage": "new modern antique contemporary traditional old-fashioned",
    "wood": "wooden metal plastic steel bamboo",
    "fabric": "woolen leather silk cotton velvet linen striped checkered",
    "taste": "delicious fresh sweet juicy sour tasty ripe rotten bitter crisp",
    "prepared": "spicy salty warm cold stale homemade greasy crunchy savory",
    "scenery": "quiet peaceful crowded dark empty gloomy deserted secluded historic sunny",
    "style": """
        long short interesting boring funny romantic scandalous unpublished anonymous controversial
        important serious mysterious dull sentimental""",
    "merit": """
        brilliant radical absurd ridiculous bold cautious ingenious dangerous simple complicated
        reasonable practical unusual risky""",
    "occasion": "annual local formal lively solemn lavish charitable outdoor regional brief",
    "force": "violent sudden terrible powerful severe deadly fearsome",
    "impact": "tragic bizarre unexpected astonishing shameful alarming",
    "bloom": "fragrant delicate colorful exotic pale wild rare tropical",
    "sound": "slow haunting melancholy catchy graceful",
    "machine": "electric digital portable faulty efficient automatic rusty dusty",
}
"""Adjectives by what they describe; they have no frequency bands."""

ADVERBS: dict[str, str] = {
    "manner": """
        quietly slowly carefully quickly calmly eagerly nervously proudly patiently cheerfully
        politely secretly hastily gladly reluctantly happily silently angrily boldly gracefully
        thoughtfully skillfully cautiously discreetly""",
    "opening": """
        suddenly fortunately unfortunately surprisingly finally eventually sadly luckily inevitably
        apparently unexpectedly""",
}
"""Adverbs of manner, and adverbs that open a sentence; they have no frequency bands."""

VERBS: dict[str, str] = {
    "emote": """
        laugh smile / cough nod+ weep:wept:wept sigh frown sob+ tremble surrender protest retire /
        sneeze shiver yawn blush giggle grin+ apologize panic:panicked:panicked:panicking""",
    "go": """
        walk run:ran:run+ / wander hurry march rush / stroll limp crawl stumble sprint jog+
        creep:crept:crept sneak dash""",
    "rest": """
        sleep:slept:slept wait rest sit:sat:sat+ stand:stood:stood /  / linger doze
        kneel:knelt:knelt lurk""",
    "depart": "arrive return escape / vanish disappear survive / reappear",
    "happen": "begin:began:begun+ end start continue occur+ / resume /",
    "malfunction": "stop+ /  / rattle explode malfunction overheat vibrate crackle stall",
    "grow": "grow:grew:grown / flourish / bloom wither wilt thrive blossom rot+",
    "rage": "strike:struck:struck / weaken / subside intensify erupt",
    "talk": """
        talk argue dream:dreamed:dreamed speak:spoke:spoken lie:lied:lied:lying / complain chat+
        quarrel rant joke / boast gossip grumble""",
    "eat": "eat:ate:eaten / taste swallow / devour chew nibble gobble munch",
    "prepare": "prepare serve order / cook / reheat garnish bake",
    "peel": " / wash harvest / peel slice chop+ grate rinse squeeze dice mash",
    "wear": """
        wear:wore:worn tear:tore:torn / fold button iron / mend sew:sewed:sewn stitch unbutton
        embroider""",
    "repair": "fix / repair assemble modify / upgrade dismantle overhaul",
    "drive": """
        drive:drove:driven / rent crash / steer tow overtake:overtook:overtaken hijack refuel""",
    "build": "build:built:built design / restore construct / renovate demolish enlarge evacuate",
    "write": "write:wrote:written publish type sign / edit translate revise print draft /",
    "study": " / quote summarize cite / skim+ memorize recite annotate paraphrase",
    "sing": "sing:sang:sung perform conduct / compose / hum+ rehearse whistle transcribe",
    "draw": "draw:drew:drawn / frame exhibit copy hang:hung:hung / sketch forge unveil",
    "play": "play practice master / tune / strum+",
    "help": """
        help / greet thank invite warn forgive:forgave:forgiven hire comfort embrace pity deceive
        betray arrest obey accompany interview persuade / hug+ tease flatter scold bribe
        congratulate persecute""",
    "tend": "train / feed:fed:fed breed:bred:bred / tame groom vaccinate pet+ rescue",
    "bite": "bite:bit:bitten attack / hunt / chase scratch sniff startle lick nuzzle",
    "judge": "explain propose / oppose defend approve justify ratify / criticize endorse clarify",
    "debate": "accept discuss question consider doubt support / reject analyze abandon /",
    "attend": "attend host / organize interrupt announce / cancel postpone sponsor",
    "handle": """
        carry throw:threw:thrown bring:brought:brought buy:bought:bought sell:sold:sold collect /
        lift grab+ borrow clean / polish""",
    "keep": """
        lose:lost:lost find:found:found drop+ keep:kept:kept examine / steal:stole:stolen
        hide:hid:hidden / misplace""",
    "notice": """
        notice see:saw:seen observe describe remember recognize watch mention
        forget:forgot:forgotten+ / ignore photograph praise / mock""",
    "like": "like love enjoy / hate prefer+ dislike admire / adore detest loathe",
    "amuse": """
        surprise trouble / frighten amuse confuse shock delight anger disappoint impress puzzle /
        annoy embarrass fascinate""",
    "destroy": "shake:shook:shaken / destroy damage ruin / wreck devastate batter flatten",
    "cultivate": "water plant / pick cultivate / pluck trample fertilize uproot",
    "climb": "fell / climb / prune trim+ topple",
    "explore": "explore enter search / / inspect revisit tour",
    "reach": "reach visit approach pass survey / circle /",
    "tidy": " / sweep:swept:swept furnish paint / tidy decorate scrub+ vacuum mop+ redecorate",
    "open": "open close / lock slam+ / unlock bolt barricade",
    "fill": "fill / seal pack load / unpack unload",
    "drink": "drink:drank:drunk / pour stir+ / sip+ spill gulp",
    "say": """
        say:said:said claim believe discover hear:heard:heard know:knew:known assume
        think:thought:thought / admit+ insist suspect deny realize conclude predict /""",
    "want": """
        want try decide refuse promise agree hope plan+ manage attempt offer learn intend expect /
        hesitate /""",
    "seem": "seem appear become:became:become remain look feel:felt:felt /  /",
    "put": "place store display / deposit conceal / stash toss",
    "give": """
        give:gave:given send:sent:sent show:showed:shown deliver hand / lend:lent:lent mail /""",
}
"""Verbs by the frame of :mod:`~probing.tasks.generated.frames` they fit.

``go:went:gone[:going]`` gives irregular past, participle and present participle; a final ``+``
doubles the last consonant (``hug+``: hugged, hugging).
"""

PEOPLE: dict[str, str] = {
    "female": """
        waitress actress queen princess nun countess businesswoman congresswoman governess woman
        girl mother sister aunt grandmother niece wife daughter widow bride stepmother godmother
        lady granddaughter housekeeper""",
    "male": """
        fisherman policeman king prince monk priest bishop postman milkman salesman cowboy
        emperor duke squire man boy father brother uncle grandfather nephew husband son
        stepfather widower bachelor gentleman grandson barber landlord""",
    "relation": """
        mother father sister brother aunt uncle grandmother grandfather niece nephew cousin
        daughter son stepmother stepfather godmother granddaughter grandson friend
        neighbor colleague classmate roommate guest visitor customer doctor lawyer teacher
        secretary dentist landlord tenant lodger tutor apprentice""",
}
"""Nouns for women, for men, and for what one is to somebody: my mother, the king's dentist."""

TARGETS = """
    gardener carpenter surgeon detective musician knight mayor tourist architect hermit pirate
    grandmother orphan bachelor villager goat rabbit fox lion monkey pony owl crocodile squirrel
    lemon mushroom pumpkin sandwich pie brandy oak willow jacket sweater vest apron gown hammer
    ladder lantern umbrella necklace pillow blanket compass typewriter refrigerator elevator
    taxi theater cabin cathedral warehouse mansion cellar hallway studio orchard vineyard swamp
    cemetery fountain pond volcano armchair cupboard jar bucket diary manuscript dictionary hymn
    melody poster guitar trumpet exhibition parade banquet hurricane rumor tragedy autumn cheese
    butter honey wandered complained assembled translated greeted thanked invited rejected
    organized borrowed frightened admired destroyed locked"""
"""The hundred words of word_content, in the one form in which they are looked for."""
