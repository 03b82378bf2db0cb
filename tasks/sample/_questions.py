"""Questions people ask: what they want to know in several wordings, and the things they ask it about.

Format: a line ``# things`` names what the questions under it are about; each line is one intent, ``/`` parts its
wordings; ``{x}`` is the thing.
"""

TRAIN = """
# playing the guitar / juggling / drawing portraits / salsa dancing / archery / chess / playing the drums / knitting
How can I learn {x} on my own? / What is the best way to teach myself {x}? / \
How does one get into {x} without a teacher?
How long does it take to get good at {x}? / How many months of practice does {x} need? / When will I be skilled at {x}?
Can I make a living from {x}? / Is it possible to earn money with {x}? / Do people get paid for {x}?
Is {x} bad for the body? / Can {x} damage my health? / What are the health risks of {x}?
Am I too old to start {x} at forty? / Is forty too late to begin with {x}? / \
Can a person in middle age still take up {x}?
What equipment do I need for {x}? / Which things should I buy before I begin {x}? / What gear does {x} require?
Where did {x} come from? / What is the origin of {x}? / Who invented {x}?
# Lisbon / Vienna / Chicago / Nairobi / Bangkok / Montreal / Dublin / Buenos Aires
How expensive is life in {x}? / What does it cost to live in {x}? / How much money do I need per month in {x}?
When is the best season to visit {x}? / Which month is ideal for a trip to {x}? / \
What time of the year should I go to {x}?
Is {x} safe for women who travel alone? / Should a woman on her own worry about crime in {x}? / \
Is {x} dangerous for girls?
What are the must-see sights of {x}? / Which places should a tourist not miss in {x}? / What is worth seeing in {x}?
How do I find a job in {x}? / Where can a foreigner get work in {x}? / What is the way to get hired in {x}?
How do I get from the airport to the centre of {x}? / What is the quickest ride from the plane to downtown {x}?
Which dishes is {x} famous for? / What is the typical food of {x}? / What do people in {x} like to eat?
# a laptop / a vacuum cleaner / a washing machine / a smartphone / a coffee machine / a digital camera / a microwave
Which brand makes the best {y}? / What company should I buy {x} from? / Whose {y} is the most reliable?
How do I clean {x}? / What is the right way to get dirt out of {x}? / How can I remove dust and stains from {x}?
How much should I pay for {x}? / What is a fair price for {x}? / What does a decent {y} cost?
How can I fix {x} that does not switch on? / What do I do when {x} will not start? / Why does my {y} not power up?
Where can I get rid of an old {y}? / How do I dispose of {x}? / Who takes a broken {y} for recycling?
How many years does {x} last? / What is the lifespan of {x}? / After what time must {x} be replaced?
# a hamster / a parrot / a rabbit / a goldfish / a labrador / a Persian cat / a turtle
What should I feed {x}? / Which food is right for {x}? / What does {x} like to eat?
How long does {x} live? / What age can {x} reach? / How many years will {x} be with me?
Can I keep {x} in a small flat? / Is a tiny apartment suitable for {x}? / Does {x} need more space than one room?
How do I tell if {x} is ill? / What are the signs that {x} is not healthy? / How can I see that {x} feels sick?
How do I teach {x} tricks? / What is the best method to train {x}? / Can one get {x} to obey commands?
Is it cruel to leave {x} alone for a day? / Can {x} stay by itself while I work? / Will {x} suffer when nobody is home?
"""

HELD = """
# a nurse / a pilot / a judge / a translator / a plumber / a vet / an architect
How do I become {x}? / What are the steps to a career as {x}? / What does it take to get work as {x}?
How much does {x} earn? / What is the income of {x}? / What salary can {x} expect?
Is the job of {x} stressful? / Does {x} have to work under a lot of pressure? / How tough is the daily routine of {x}?
Do I need a degree to be {x}? / Can I be {x} without going to university? / Is college necessary for {x}?
Will robots replace {x}? / Could a machine do the work of {x} in the future? / Is {x} going to be made redundant by AI?
# Japanese / Arabic / Swedish / Hindi / Portuguese / Korean / Turkish
How hard is {x} for English speakers? / Is {x} a difficult language? / Will an American struggle with {x}?
Which app is best for studying {x}? / What software do you recommend for {x} lessons? / \
What is a good program to learn {x}?
How many people speak {x}? / What is the number of {x} speakers in the world? / How widespread is {x}?
How do I improve my {x} pronunciation? / What helps to get rid of an accent in {x}? / How can I sound natural in {x}?
Are there good films in {x}? / Which movies should I watch in {x}? / Can you suggest some {x} cinema?
# a cactus / an orchid / a lemon tree / a tomato plant / a bonsai / a fern
How often should I water {x}? / How frequently must {x} be watered? / How many times a week does {x} need water?
Why are the leaves of {x} turning yellow? / What makes {x} lose its green colour? / Why does {x} get yellow leaves?
Does {x} need direct sun? / Should {x} stand in a sunny place? / Is bright sunlight good for {x}?
When should I repot {x}? / How do I know that {x} needs a bigger pot? / \
At what point does {x} have to be moved to a new pot?
Which bugs attack {x}? / What insects are a danger to {x}? / From which pests does {x} suffer?
# migraine / insomnia / asthma / back pain / hay fever / diabetes
What causes {x}? / Why do people get {x}? / What is the reason for {x}?
How is {x} treated? / What therapy helps against {x}? / Which medicine do doctors give for {x}?
Can {x} be inherited? / Does {x} run in families? / Are the children of people with {x} at risk?
Is exercise good for {x}? / Should I do sports when I have {x}? / Does physical activity help with {x}?
Which doctor should I see about {x}? / What kind of specialist deals with {x}? / \
Whom do I consult when I suffer from {x}?
"""
