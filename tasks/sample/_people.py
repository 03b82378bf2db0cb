"""What can be said of people: groups of incompatible facts with paraphrases, in three banks that share no wording.

Format: blank lines part the aspects; each line of an aspect is one value, and its first line excludes the others; ``/``
parts paraphrases, ``>`` the more general wordings that the value entails; ``~`` stands for "his" or "her". Lines that
begin with ``#`` name a theme: facts of different themes say nothing about each other.
"""

TRAIN = """
# energy
was exhausted / could hardly keep ~ eyes open / was worn out > was tired
was full of energy / felt fresh and rested > was not tired at all

slept soundly all night / had a long and deep sleep > slept well
lay awake all night / could not sleep / tossed and turned until morning > hardly slept

got up at dawn / was out of bed before sunrise > rose early
stayed in bed until noon / did not get up before midday > rose late

# mood
was delighted / was overjoyed / was in high spirits > was happy
was miserable / was close to tears / felt terribly low > was unhappy

lost ~ temper / shouted at everybody / was furious > was angry
stayed perfectly calm / kept ~ cool / spoke in a gentle voice > was not angry

# money
was broke / could not pay the rent / had run out of money > was poor
was wealthy / had a fortune in the bank / owned millions > was rich

bought the red car / purchased the red car / became the owner of the red car > got the car
refused to buy the red car / decided against the red car > did not get the car

# work
got the job at the bank / was hired by the bank / started work at the bank > got the post
was turned down by the bank / did not get the job at the bank / was rejected by the bank > did not get the post

was promoted to manager / became the head of the department > rose to a higher position
was fired by the company / lost ~ job / was dismissed > became unemployed

# tests
passed the driving test / got through the driving test > succeeded in a test
failed the driving test / did not pass the driving test > was unsuccessful in a test

studied hard for the exam / spent every evening over the books > worked hard at school
did not open a book before the exam / never studied > was too lazy to study

# race
won the race / crossed the finish line first / beat all the other runners > was the winner
came last in the race / finished behind everybody else > was the loser

# time
arrived on time / was there at the agreed hour / came punctually > was not late
arrived an hour late / kept everybody waiting > was late

forgot the appointment / did not think of the appointment > missed a meeting
remembered the appointment / had the appointment in mind > did not forget the meeting

# travel
took the train to the coast / travelled to the coast by rail > went by train
drove to the coast / went to the coast by car > travelled by road
stayed at home all week / did not leave the house > went nowhere

cancelled the trip / called the journey off / gave up the travel plans > did not travel
went on the trip as planned / set off on the journey > travelled

# food
ate a huge dinner / finished three plates of food / devoured the whole meal > ate a lot
did not touch the food / left the plate full / skipped dinner > ate nothing

became a vegetarian / gave up meat / stopped eating meat > no longer ate meat
had a steak every day / ate meat at every meal > often ate meat

cooked a pot of soup / made a big soup > prepared a warm meal
ordered a pizza / had a pizza delivered > did not cook

# health
broke a leg / had a fractured leg > was injured
escaped without a scratch / was not hurt at all > was unharmed

was ill in bed / had a high fever / came down with the flu > was sick
was in perfect health / was fit and well > was healthy

put on ten kilos / gained a lot of weight > became heavier
shed ten kilos / lost a lot of weight > became thinner

gave up smoking / quit cigarettes > stopped smoking
smoked a pack a day / lit one cigarette after another > was a smoker

# family
got married in May / had a big wedding > was married
called off the wedding / decided not to marry > remained single

had two children / was raising a son and a daughter > was a parent
had no children / was childless > had no son or daughter

was all alone / had nobody to talk to > was lonely
was surrounded by friends / had plenty of company > was among other people

# music
played the violin / practised the violin > made music
had never learned an instrument / could not play any instrument > was no musician

adored jazz / could listen to jazz for hours > liked music
hated jazz / could not stand jazz > disliked the music

danced all night / was on the dance floor for hours > danced
refused to dance / did not dance once > stayed off the dance floor

# language
spoke fluent Italian / was fluent in Italian > knew the Italian language
did not understand a word of Italian / knew no Italian > could not speak Italian

talked without a break / chatted all evening / could not stop talking > talked a lot
said nothing / remained silent all evening / did not utter a word > kept quiet

# animals
adopted a puppy / took in a stray puppy > got a dog
refused to keep a dog / did not want a dog > had no dog

# looks
wore a long black coat / had a black coat on > was dressed in black
wore a bright white shirt / had a white shirt on > was dressed in white

was over ninety / was in ~ nineties > was very old
was barely twenty / had just turned twenty > was young

was unusually tall / towered over the others > was tall
was very short / was the smallest in the group > was not tall

# honesty
sent the letter / posted the letter / put the letter in the mailbox > mailed the message
tore up the letter / threw the letter in the bin / burned the letter > destroyed the message

told everyone the secret / gave the secret away / revealed the secret > did not keep the secret
kept the secret / told nobody about the secret > was silent about the secret

told the truth / gave an honest answer > was honest
lied about everything / made up a story > was dishonest

# kindness
helped the lost tourist / showed the lost tourist the way > was helpful
ignored the lost tourist / refused to help the lost tourist > was unhelpful

accepted the invitation / agreed to come to the party / said yes to the invitation > wanted to come
turned down the invitation / declined to come to the party / said no to the invitation > did not want to come

# home
cleaned the whole flat / tidied every room of the flat > made the place clean
left the flat in a mess / did not clean the flat for weeks > lived in a dirty place

planted roses / grew roses in the garden > grew flowers
let the garden die / did not water the plants > neglected the garden

repaired the broken radio / fixed the radio / got the radio working again > mended the old set
smashed the radio / broke the radio > destroyed the old set

lost the keys / could not find the keys > had no keys
found the missing keys / got the lost keys back > had the keys again

# courage
was afraid to climb the ladder / was scared of heights > was frightened
climbed to the top without fear / was not frightened by the height > was brave

swam across the lake / crossed the lake by swimming > was a good swimmer
could not swim / had never learned to swim > was no swimmer

walked very slowly / moved at a snail's pace > was slow
ran as fast as possible / hurried down the road > was quick

# law
was arrested / was taken away by the police > was in trouble with the law
was set free / was released by the police > was free again
"""

HELD = """
# lecture
was bored by the lecture / yawned through the lecture / found the lecture dull > took no interest in the talk
was fascinated by the lecture / listened to the lecture with great attention > was interested in the talk

graduated from university / earned a university degree > completed ~ education
dropped out of university / quit university without a degree > did not finish ~ education

# nerves
was trembling with nerves / felt very anxious > was nervous
was completely relaxed / felt at ease > was not nervous

# town
was elected mayor / became mayor of the town > won the election
lost the vote for mayor / was not elected mayor > was not chosen

believed in ghosts / was convinced that ghosts exist > thought that spirits are real
did not believe in ghosts / thought that ghosts were nonsense > was sure that there are no spirits

# wages
got a pay rise / was given a higher salary > earned more
suffered a pay cut / had to accept a lower salary > earned less

gave every coin to charity / donated everything to the poor > was generous
kept every penny / gave nothing to charity > was stingy

# senses
was nearly blind / could barely see > had poor eyesight
had excellent eyesight / saw every detail > had sharp eyes

sang beautifully / had a lovely singing voice > was a good singer
sang out of tune / had a terrible singing voice > was a bad singer

# drinks
drank one beer after another / emptied six glasses of beer > drank alcohol
drank only water / did not touch alcohol > was sober

# commuting
rode a bicycle to the office / cycled to the office > used a bike
walked to the office / went to the office on foot > did not use a bike

moved to Canada / emigrated to Canada > went to live abroad
stayed in the village for good / never left ~ native village > did not go abroad

# art
painted a portrait / finished an oil painting > created a picture
never held a brush / had no talent for painting > was no painter

# landlord
quarrelled with the landlord / had a bitter argument with the landlord > was in conflict with the owner of the house
got along with the landlord / was on good terms with the landlord > was friends with the owner of the house

trusted the lawyer / had complete faith in the lawyer > relied on the legal adviser
was suspicious of the lawyer / thought that the lawyer was a fraud > had doubts about the legal adviser

# guests
apologised to the guests / said sorry to the guests > expressed regret
refused to apologise / did not say sorry > showed no regret

answered the phone / picked up the phone / took the call > spoke on the telephone
let the phone ring / did not pick up the phone / ignored the call > did not use the telephone

# oven
burned the cake / left the cake in the oven too long > ruined the dessert
baked a perfect cake / took a golden cake out of the oven > made a good dessert

# strength
lifted the heavy crate with ease / carried the heavy crate without effort > was strong
was too weak to lift the crate / could not move the crate > lacked strength

pulled the child out of the river / rescued the drowning child > saved the child
did nothing for the drowning child / watched the child drown > did not save the child

# fishing
caught a huge trout / landed a big trout > had success with the fishing rod
caught nothing all day / came back without a single fish > had no luck with the fishing rod
"""

DISCOURSE = """
# chess
defeated the champion / beat the champion at chess > won the game
was beaten by the champion / lost to the champion at chess > lost the game

# letters
wrote a novel / was the author of a novel > wrote a book
had never written a line / was no writer > wrote nothing

# visit
enjoyed the visit / had a great time during the visit > had fun
found the visit dreadful / hated every minute of the visit > had no fun

# luggage
packed a heavy suitcase / filled a large suitcase > had a lot of luggage
travelled with empty hands / took no bag along > had no luggage

# debts
paid back the loan / returned the borrowed money > had no more debts
still owed the money / had not paid back the loan > was in debt

# tooth
went to the dentist / had a tooth pulled > got medical help
stayed away from the dentist / did not see a dentist > got no medical help

# fence
painted the fence / gave the fence a coat of paint > worked outdoors
left the fence unpainted / did not touch the fence > did no work outdoors

# news
had read the report / knew the report by heart > knew the facts
had not seen the report / knew nothing about the report > did not know the facts

# meeting
supported the plan / spoke in favour of the plan > was for the idea
opposed the plan / spoke against the plan > was against the idea

# camp
put up the tent / had the tent standing > built a shelter
could not put up the tent / gave up on the tent > had no shelter

# choir
joined the choir / became a member of the choir > entered the group of singers
left the choir / was no longer in the choir > quit the group of singers
"""
