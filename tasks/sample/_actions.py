"""What people do to things: verbs with synonyms and opposites, and things with synonyms and more general words.

Format: a line ``verbs ; opposite verbs`` and, indented under it, the things they fit. A verb is given as base and past
form, with hyphens inside verbs of several words; ``/`` parts synonyms and things; ``a = b > c`` is a thing, another
word for it, and a more general one. What held-out rows are made of shares no verb with what training rows are made of,
but for a few among the opposites. ``DISCOURSE`` is for the training rows of sample.cb.
"""

TRAIN = """
repair repaired / fix fixed / mend mended ; break broke / damage damaged
    the radio > the device / the bicycle = the bike > the vehicle / the shoes > the footwear / the sink
buy bought / purchase purchased ; sell sold
    the violin = the fiddle > the instrument / the sofa = the couch > the furniture / the apples > the fruit / \
the ring > the jewellery
win won ; lose lost
    the chess match > the contest / the song contest > the competition / the gold medal > the prize / the lottery
open opened ; close closed / shut shut
    the window / the parcel = the package / the gate / the wine bottle
find found / discover discovered ; lose lost
    the lost keys / the hidden money = the hidden cash / the treasure / the missing cat > the missing pet
like liked / enjoy enjoyed ; hate hated / detest detested
    the soup > the food / the opera > the music / the speech = the talk / the roast beef > the meat
accept accepted / approve approved ; reject rejected / turn-down turned-down
    the offer = the proposal / the invitation / the new contract / the excuse = the apology
build built / construct constructed ; tear-down tore-down / demolish demolished
    the cabin = the hut > the shelter / the brick wall / the wooden bridge / the stable > the farm building
clean cleaned / wash washed ; dirty dirtied / stain stained
    the car > the vehicle / the dishes = the plates / the kitchen floor / the shirts > the clothes
help helped / assist assisted ; ignore ignored
    the lost tourist > the stranger / the injured boy = the injured child / the new pupil = the new student / \
the blind man
praise praised ; criticise criticised / blame blamed
    the cook = the chef / the choir > the singers / the new law / the proposal
arrest arrested / catch caught ; release released / set-free set-free
    the thief = the robber > the criminal / the spy / the smuggler > the criminal
start started / begin began ; stop stopped
    the lesson = the class / the meeting / the engine = the motor / the campaign
eat ate / consume consumed
    the sandwich > the food / the cherries > the fruit / the cheese > the food / the chocolate cake > the dessert
cook cooked / prepare prepared
    the dinner = the evening meal / the stew > the meal / the rice / the lamb > the meat
cut cut / trim trimmed
    the hedge / the grass = the lawn / the long branches
steal stole ; return returned / give-back gave-back
    the wallet = the purse / the necklace > the jewellery / the painting > the work of art / the motorbike > the vehicle
hide hid / conceal concealed ; show showed / reveal revealed
    the letter / the diary = the journal / the gun > the weapon / the scar
teach taught
    French > the language / history / chess > the game / swimming > the sport
carry carried / transport transported
    the boxes / the piano > the instrument / the bricks / the old fridge > the appliance
remember remembered ; forget forgot
    the password / the birthday / the address / the promise
invite invited
    the neighbours / the whole team / the new colleague = the new co-worker / the cousins > the relatives
marry married
    the millionaire > the rich man / the pilot = the airman / the painter > the artist
visit visited
    the museum / the castle / the sick uncle > the relative / the zoo
read read
    the newspaper = the paper / the novel > the book / the poem / the contract
write wrote
    the report / the love letter > the letter / the song / the essay
drink drank ; spill spilled
    the coffee > the hot drink / the lemonade > the soft drink / the milk
plant planted ; dig-up dug-up
    the oak > the tree / the roses > the flowers / the potatoes > the vegetables
light lit ; put-out put-out / extinguish extinguished
    the candle / the fire / the cigar
trust trusted / believe believed ; distrust distrusted / doubt doubted
    the salesman = the seller / the witness / the stranger / the fortune teller
defend defended / protect protected ; attack attacked
    the queen / the small village / the weaker boy / the castle
fill filled ; empty emptied
    the bottle / the bucket / the bathtub = the bath
increase increased / raise raised ; lower lowered / reduce reduced
    the price / the rent / the speed / the wages = the pay
lend lent ; borrow borrowed
    the ladder / the tent / the umbrella
love loved / adore adored ; hate hated
    the dog > the animal / the old house / the twins > the children / the ocean = the sea
miss missed ; catch caught
    the train / the bus / the flight
save saved / rescue rescued ; abandon abandoned
    the drowning man / the kitten > the animal / the hostages
understand understood ; misunderstand misunderstood
    the question / the joke / the rules
burn burned ; keep kept
    the documents = the papers / the old photographs = the old photos / the rubbish = the trash
kill killed
    the snake > the animal / the wolf > the animal / the spider
paint painted
    the fence / the ceiling / the portrait > the picture
pack packed ; unpack unpacked
    the suitcase / the backpack / the picnic basket
"""

HELD = """
finish finished / complete completed ; abandon abandoned
    the puzzle / the marathon > the race / the homework / the manuscript
admire admired / respect respected ; despise despised / look-down-on looked-down-on
    the general > the soldier / the poet > the writer / the judge / the president
throw-away threw-away / discard discarded ; keep kept
    the old magazines / the broken toys / the receipts / the leftovers
follow followed / obey obeyed ; disobey disobeyed / disregard disregarded
    the orders = the commands / the instructions / the doctor's advice
lock locked ; unlock unlocked
    the door / the safe / the drawer / the shed
allow allowed / permit permitted ; forbid forbade / ban banned
    the demonstration = the protest / the experiment / the loud party
hire hired / employ employed ; dismiss dismissed / fire fired
    the plumber > the workman / the lawyer = the attorney / the cleaner
pass passed ; fail failed
    the maths exam = the maths test / the audition / the inspection
pull pulled ; push pushed
    the rope / the cart / the sledge
bake baked
    the bread / the apple pie > the dessert / the biscuits = the cookies
sink sank
    the boat > the vessel / the ferry > the vessel
wear wore ; take-off took-off
    the helmet / the raincoat = the waterproof coat / the wedding dress > the dress / the sandals > the shoes
answer answered / reply-to replied-to ; ignore ignored
    the letter from Spain / the question about taxes / the email
borrow borrowed ; lend lent
    the lawnmower > the machine / the dictionary > the book / the drill > the tool
admit admitted / confess confessed ; deny denied
    the crime / the mistake = the error / the affair
freeze froze ; defrost defrosted / thaw thawed
    the fish / the berries > the fruit / the leftover sauce
support supported / back backed ; oppose opposed / fight-against fought-against
    the strike / the candidate = the politician / the reform
deliver delivered
    the pizza > the food / the furniture / the telegram > the message
drive drove / steer steered
    the truck = the lorry > the vehicle / the tractor > the farm machine / the ambulance
translate translated
    the Russian novel > the foreign book / the treaty = the agreement
feed fed
    the horses > the animals / the baby = the infant / the ducks > the birds
cancel cancelled / call-off called-off ; confirm confirmed
    the concert > the event / the order / the wedding > the celebration
"""

DISCOURSE = """
send sent / mail mailed ; receive received
    the postcard = the card / the bill = the invoice / the application form > the papers
hunt hunted / chase chased ; spare spared
    the fox > the animal / the deer > the animal / the wild boar
print printed / publish published ; withdraw withdrew
    the article = the essay / the photo = the picture / the interview
welcome welcomed / greet greeted ; snub snubbed
    the ambassador > the diplomat / the winner = the champion / the newcomers > the strangers
join joined ; leave left
    the army > the armed forces / the union / the club = the society
solve solved / work-out worked-out
    the riddle = the puzzle / the equation > the maths problem / the murder case > the crime
tie tied / fasten fastened ; untie untied / loosen loosened
    the knot / the boat > the vessel / the shoelaces
describe described / depict depicted
    the accident = the crash / the island / the robber > the criminal
"""
