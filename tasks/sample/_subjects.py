"""Who the facts are about: people with gender, paraphrases and a more general wording; and names of bystanders."""

TRAIN = """
m the young violinist / the young violin player > the musician
f the young cellist / the young cello player > the musician
m the retired postman / the former postman > the old man
f the retired teacher / the former teacher > the old woman
m the baker from our street / our local baker > the tradesman
f the nurse from the city hospital / the city hospital nurse > the hospital worker
m the bus driver / the driver of the bus > the man
f the taxi driver / the driver of the taxi > the woman
m my neighbour Tom / Tom from next door > Tom
f my neighbour Anna / Anna from next door > Anna
m Mr Harris / our colleague Mr Harris > our colleague
f Mrs Baker / our colleague Mrs Baker > our colleague
m the Spanish student / the student from Spain > the student
f the Polish student / the student from Poland > the student
m the old farmer / the elderly farmer > the farmer
f the young farmer / the youthful farmer > the farmer
m my cousin Paul / my dear cousin Paul > my relative
f my aunt Clara / Aunt Clara > my relative
m the football coach / the coach of the football team > the coach
f the tennis coach / the coach of the tennis team > the coach
m the police officer / the officer from the police station > the officer
f the shop owner / the owner of the shop > the woman
m the hotel guest / the guest at the hotel > the guest
f the dentist / the local dentist > the woman
"""

HELD = """
m the Danish sailor / the sailor from Denmark > the seaman
f the surgeon / the hospital surgeon > the doctor
m Uncle Victor / my uncle Victor > Victor
f my sister Julia / my younger sister Julia > Julia
m the tour guide / the guide of the tour > the guide
f the journalist / the newspaper reporter > the reporter
m the carpenter / the village carpenter > the craftsman
f the chemist / the scientist from the chemistry lab > the scientist
m the captain / the captain of the ship > the seaman
f the actress / the famous actress > the performer
m the gardener / the gardener of the park > the man
f the widow / the widow from the third floor > the woman
m the Japanese cook / the cook from Japan > the cook
f the secretary / the office secretary > the employee
"""

BYSTANDERS_TRAIN = "Maria / Peter / the landlady / my wife / Mr Brown / the boss / Emma / an old friend / Ben"
BYSTANDERS_HELD = "Sophie / Martin / the priest / my teacher / the host / Mrs Green / Oliver"
